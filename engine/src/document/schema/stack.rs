//! The fields of a Stack's `spec`.

use super::{Field, LABEL, Shape, depends_on, field, required, token};

pub(super) fn fields() -> Vec<Field> {
    use Shape::{Duration, Entries, Flag, List, Pattern, Text, TextMap, Texts, Words};
    vec![
        required(
            "namespace",
            Pattern(LABEL),
            "Namespace of the record and of every object that names none. Created if absent.",
        ),
        required(
            "source",
            Text,
            "A kustomization, or a folder or file of manifests; relative to this document.",
        ),
        field(
            "images",
            TextMap,
            "Image name to tag, sha256: digest, or a whole other reference.",
        ),
        field(
            "substitute",
            TextMap,
            "Values of ${NAME} in manifests. A variable without a value is an error.",
        ),
        field(
            "components",
            Entries(component()),
            "Parts that become ready as a unit, by name. Without any, the whole source is one component. Objects \
             under no component's path are applied before all components.",
        ),
        field(
            "tokens",
            Entries(token::fields()),
            "One-time secrets by name, minted after what their component waits for and before the component itself.",
        ),
        requires("Objects of others that must be ready before anything of the stack except its namespace is applied."),
        field(
            "policies",
            List(policy()),
            "The stack's own rules. An object that breaks one is an error in the plan.",
        ),
        field("timeout", Duration, "Time limit of every wait. Default 15m."),
        field(
            "prune",
            Flag,
            "Whether objects that are no longer rendered are deleted, after everything new is ready. Default true.",
        ),
        field(
            "deleteProtected",
            Texts,
            "Kinds among PersistentVolumeClaim, PersistentVolume, Namespace and CustomResourceDefinition that prune \
             and destroy may delete.",
        ),
        field(
            "replace",
            Texts,
            "Kinds whose objects may be deleted and made again when a change to an immutable field needs it. Jobs always may, once \
             nothing of the old one runs; with Job in this list a running one is stopped.",
        ),
        field(
            "adopt",
            Words(&["never", "ifUnowned", "always"]),
            "What to do with an object that exists and that no stack's record names. Default never.",
        ),
        field(
            "conflicts",
            Words(&["fail", "force", "yield"]),
            "What to do when another field manager owns a field with another value. Default fail.",
        ),
        field(
            "drift",
            Words(&["revert", "report"]),
            "What to do when somebody else changes a field that the stack sets: revert it, or report it and leave it \
             until the manifest changes. Default revert.",
        ),
        field(
            "serviceAccount",
            Text,
            "Service account, NAME (in the stack's namespace) or NAMESPACE/NAME, that `myelin run` uses to change the \
             stack. The source's configuration has to allow it. Default: the source's account.",
        ),
        field(
            "onFailure",
            Words(&["stop", "rollback"]),
            "What to do when a component fails: keep what is healthy, or return to the last state in which everything \
             was ready. Default stop.",
        ),
        field(
            "restartOnConfigChange",
            Flag,
            "Whether pod templates carry a checksum of the ConfigMaps and Secrets of the stack that they read. Default true.",
        ),
        depends_on(),
    ]
}

fn component() -> Vec<Field> {
    vec![
        required(
            "path",
            Shape::Text,
            "Folder or file under the source. Objects from it belong to the component.",
        ),
        field(
            "after",
            Shape::Texts,
            "Components that must be ready before this one starts.",
        ),
        field(
            "tokens",
            Shape::Texts,
            "Tokens that must be stored before this component starts.",
        ),
        requires("Objects of others that must be ready before this component starts."),
        field(
            "verify",
            Shape::List(check()),
            "Checks, each either http or exec, run in this order once the component's objects are ready. What waits \
             for the component starts when they are answered as wanted.",
        ),
        field(
            "timeout",
            Shape::Duration,
            "How long this component may take once it starts.",
        ),
    ]
}

fn requires(text: &'static str) -> Field {
    let fields = vec![
        required("apiVersion", Shape::Text, "As in a manifest, for example apps/v1."),
        required("kind", Shape::Text, "As in a manifest, for example Deployment."),
        field(
            "namespace",
            Shape::Text,
            "Default: the stack's namespace, for namespaced kinds.",
        ),
        required("name", Shape::Text, "The object's name."),
        field(
            "fields",
            Shape::TextMap,
            "Fields of the object by dotted path that must have these values as well, for kinds whose status has no conditions.",
        ),
        field(
            "timeout",
            Shape::Duration,
            "How long to wait for it. Default: the stack's timeout.",
        ),
    ];
    field("requires", Shape::List(fields), text)
}

fn check() -> Vec<Field> {
    let http = vec![
        field("namespace", Shape::Text, "Of the Service. Default: the stack's."),
        required("service", Shape::Text, "Name of the Service."),
        field(
            "port",
            Shape::Port,
            "Number or name of its port. May be omitted if it has only one.",
        ),
        field(
            "scheme",
            Shape::Words(&["http", "https"]),
            "Protocol of the pods behind the Service. Default http.",
        ),
        field("path", Shape::Pattern("^/"), "Path and query. Default /."),
        field("status", Shape::Statuses, "Expected status codes. Default: 200 to 299."),
        field("body", Shape::Text, "A text that the body must contain."),
        field(
            "json",
            Shape::TextMap,
            "Fields of a JSON body by dotted path, and what each must be, as text.",
        ),
    ];
    let mut exec = token::exec();
    exec.push(field(
        "output",
        Shape::Text,
        "A text that its standard output must contain.",
    ));
    vec![
        field(
            "http",
            Shape::Fields(http),
            "A GET through the API server's service proxy.",
        ),
        field(
            "exec",
            Shape::Fields(exec),
            "A command in a running pod. It must end with exit code 0.",
        ),
        field(
            "timeout",
            Shape::Duration,
            "How long the check is repeated, with growing pauses. Default 1m.",
        ),
    ]
}

fn policy() -> Vec<Field> {
    let matches = vec![
        field(
            "apiVersion",
            Shape::Text,
            "Only its group matters, for example apps/v1.",
        ),
        field("kind", Shape::Text, "For example StatefulSet."),
        field("namespace", Shape::Text, "Namespace of the object."),
        field("name", Shape::Text, "Name of the object."),
        field("labels", Shape::TextMap, "Labels that the object must have."),
    ];
    vec![
        field(
            "match",
            Shape::Fields(matches),
            "Which objects the rule applies to; omitted fields match all.",
        ),
        required(
            "rule",
            Shape::Text,
            "A CEL expression over object (as it will be sent) and component that is true for an object that \
             satisfies the rule.",
        ),
        required("message", Shape::Text, "Message for an object that does not."),
    ]
}
