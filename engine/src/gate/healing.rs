//! What could heal a refusal, judged by its message: the only place that interprets messages of the kubelet, the
//! registry, the scheduler and the API server.
//!
//! Messages are not an API. An unknown message is treated as one that may heal by itself, so it makes a gate slower and
//! never wrong.

use super::Heals;

fn has(text: &str, words: &[&str]) -> bool {
    let lower = text.to_ascii_lowercase();
    words.iter().any(|word| lower.contains(word))
}

/// An image that could not be pulled. Network errors may pass with a retry; after a refusal by the registry, somebody
/// has to publish or permit the image.
pub(super) fn image(message: &str) -> Heals {
    let network = [
        "no such host",
        "dial tcp",
        "timeout",
        "timed out",
        "connection refused",
        "connection reset",
        "tls handshake",
        "temporary failure",
        "server misbehaving",
        "too many requests",
        "toomanyrequests",
        "unexpected eof",
        "deadline exceeded",
        "internal server error",
        "bad gateway",
        "service unavailable",
        "gateway time",
    ];
    let refused = [
        "not found",
        "manifest unknown",
        "name unknown",
        "does not exist",
        "denied",
        "unauthorized",
        "forbidden",
        "authorization",
        "authentication",
        "no basic auth",
        "no match for platform",
        "not present with pull policy of never",
    ];
    if !has(message, &network) && has(message, &refused) {
        Heals::Others
    } else {
        Heals::Itself
    }
}

/// A container that could not be configured: something is missing, or the image and the security context contradict
/// each other.
pub(super) fn config(message: &str) -> Heals {
    if has(
        message,
        &[
            "non-root",
            "runasnonroot",
            "run as root",
            "non-numeric user",
            "no command specified",
        ],
    ) {
        Heals::Spec
    } else if has(message, &["failed to sync", "timed out"]) {
        Heals::Itself
    } else if has(message, &["not found", "couldn't find key", "non-existent"]) {
        Heals::Others
    } else {
        Heals::Itself
    }
}

/// A container that could not be started: messages about a command that cannot run.
pub(super) fn start(message: &str) -> Heals {
    if has(
        message,
        &[
            "executable file not found",
            "no such file or directory",
            "permission denied",
            "exec format error",
            "not a directory",
            "is a directory",
            "unable to find user",
        ],
    ) {
        Heals::Spec
    } else {
        Heals::Itself
    }
}

/// A volume that could not be mounted; `None` if that is normal during a pod's start.
pub(super) fn mount(message: &str) -> Option<Heals> {
    // The cluster's own certificates arrive a moment after their namespace.
    if has(
        message,
        &[
            "kube-root-ca.crt",
            "openshift-service-ca.crt",
            "failed to sync",
            "not registered",
        ],
    ) {
        None
    } else if has(
        message,
        &[
            "not found",
            "non-existent",
            "does not exist",
            "couldn't find key",
            "hostpath type check failed",
        ],
    ) {
        Some(Heals::Others)
    } else {
        None
    }
}

/// A pod that the API server refused to create for a controller.
pub(super) fn refused(message: &str) -> Heals {
    if has(
        message,
        &["already exists", "etcdserver", "timeout", "timed out", "conflict"],
    ) {
        Heals::Itself
    } else if has(
        message,
        &[
            "exceeded quota",
            "failed calling webhook",
            "security context constraint",
        ],
    ) {
        Heals::Others
    } else if has(
        message,
        &[
            "violates podsecurity",
            "is invalid",
            "denied the request",
            "must specify",
            "usage per container",
            "usage per pod",
            "no priorityclass",
        ],
    ) {
        Heals::Spec
    } else {
        Heals::Others
    }
}

/// Metrics that an autoscaler could not read; `None` if that is normal while pods start.
pub(super) fn metrics(message: &str) -> Option<Heals> {
    if has(message, &["missing request for"]) {
        Some(Heals::Spec)
    } else if has(
        message,
        &[
            "no metrics returned",
            "did not receive metrics",
            "no ready pods",
            "unready",
        ],
    ) {
        None
    } else {
        Some(Heals::Others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_pull_decides() {
        for (message, heals) in [
            (
                "failed to do request: Head \"https://example.invalid/v2/nope/manifests/1\": dial tcp: lookup example.invalid on 10.0.0.1:53: no such host",
                Heals::Itself,
            ),
            (
                "rpc error: code = NotFound desc = failed to resolve reference \"docker.io/library/nope:1\": docker.io/library/nope:1: not found",
                Heals::Others,
            ),
            (
                "pull access denied, repository does not exist or may require authorization",
                Heals::Others,
            ),
            ("toomanyrequests: You have reached your pull rate limit", Heals::Itself),
            (
                "failed to authorize: failed to fetch anonymous token: Get \"https://auth.example/token\": dial tcp 10.0.0.1:443: i/o timeout",
                Heals::Itself,
            ),
            ("something nobody has seen", Heals::Itself),
        ] {
            assert_eq!(image(message), heals, "{message}");
        }
    }

    #[test]
    fn what_is_missing_heals_by_others_and_what_is_forbidden_by_the_spec() {
        for (message, heals) in [
            ("secret \"nope\" not found", Heals::Others),
            ("couldn't find key url in Secret shop/creds", Heals::Others),
            (
                "container has runAsNonRoot and image will run as root (pod: \"x\", container: c)",
                Heals::Spec,
            ),
            (
                "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root",
                Heals::Spec,
            ),
            (
                "failed to sync secret cache: timed out waiting for the condition",
                Heals::Itself,
            ),
        ] {
            assert_eq!(config(message), heals, "{message}");
        }
        for (message, heals) in [
            (
                "pods \"web-x-\" is forbidden: exceeded quota: small, requested: pods=1",
                Heals::Others,
            ),
            (
                "pods \"web-x-\" is forbidden: error looking up service account shop/nope: serviceaccount \"nope\" not found",
                Heals::Others,
            ),
            (
                "pods \"web-x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
                Heals::Spec,
            ),
            (
                "admission webhook \"policy.example\" denied the request: no",
                Heals::Spec,
            ),
            (
                "Internal error occurred: failed calling webhook \"x\": no endpoints available",
                Heals::Others,
            ),
            (
                "pods \"web-x\" is forbidden: failed quota: q: must specify limits.cpu for: c",
                Heals::Spec,
            ),
        ] {
            assert_eq!(refused(message), heals, "{message}");
        }
        assert_eq!(
            mount("MountVolume.SetUp failed for volume \"v\" : references non-existent secret key: tls.key"),
            Some(Heals::Others)
        );
        assert_eq!(
            mount("MountVolume.SetUp failed for volume \"kube-api-access\" : configmap \"kube-root-ca.crt\" not found"),
            None
        );
    }
}
