use super::*;
use crate::control::{PoolWord, Status};

/// A source with one stack of two objects, one of which has drifted, and hostile words wherever others write.
pub(in crate::web) fn view() -> View {
    let object = |name: &str, state: &str, reason: &str| ObjectNode {
        object: myelin_engine::object::ObjectKey::new("", "ConfigMap", "shop", name),
        state: state.to_owned(),
        reason: reason.to_owned(),
    };
    let component = ComponentNode {
        name: "web".to_owned(),
        state: "drifted".to_owned(),
        after: ["\"><script>alert(4)</script>".to_owned()].into(),
        objects: vec![
            object("paint", "ready", ""),
            object("<img src=x onerror=alert(1)>", "drifted", "<script>alert(2)</script>"),
        ],
    };
    let stack = StackNode {
        name: "shop/one".to_owned(),
        owner: "git:git".to_owned(),
        state: "drifted".to_owned(),
        plan: "0123".to_owned(),
        components: vec![component],
        tokens: vec!["\"axon\"<b>".to_owned()],
    };
    let taken = Taken {
        commit: "0123456789abcdef".to_owned(),
        subject: "<script>alert(3)</script>".to_owned(),
        author: "Ada \"<b>".to_owned(),
        at: 0,
        state: "ready".to_owned(),
        plan: None,
    };
    View {
        status: Status {
            state: "ready".to_owned(),
            message: "</pre><script>".to_owned(),
            stacks: BTreeMap::from([("shop/one".to_owned(), "ready".to_owned())]),
            drift: BTreeMap::from([("shop/one".to_owned(), vec!["javascript:alert(1) <b>".to_owned()])]),
            history: vec![taken],
            ..Status::default()
        },
        tree: SourceNode {
            name: "git".to_owned(),
            state: "ready".to_owned(),
            message: String::new(),
            commit: Some("0123456789abcdef".to_owned()),
            subject: "<script>".to_owned(),
            taken: Some(0),
            head: None,
            held: None,
            suspended: false,
            unconfirmed: None,
            stacks: vec![stack],
            pools: BTreeMap::from([("workers<b>".to_owned(), PoolWord::default())]),
        },
    }
}

fn many(count: usize) -> View {
    let mut view = view();
    let one = view.tree.stacks.remove(0);
    for number in 0..count {
        view.tree.stacks.push(StackNode {
            name: format!("shop/s{number:04}"),
            owner: one.owner.clone(),
            state: if number == 7 { "failed" } else { "ready" }.to_owned(),
            plan: one.plan.clone(),
            components: vec![ComponentNode {
                name: String::new(),
                state: "ready".to_owned(),
                after: [].into(),
                objects: (0..4)
                    .map(|object| ObjectNode {
                        object: myelin_engine::object::ObjectKey::new(
                            "",
                            "ConfigMap",
                            "shop",
                            format!("c{number}-{object}"),
                        ),
                        state: if number == 7 && object == 2 { "failed" } else { "ready" }.to_owned(),
                        reason: if number == 7 {
                            "no space".to_owned()
                        } else {
                            String::new()
                        },
                    })
                    .collect(),
            }],
            tokens: Vec::new(),
        });
    }
    view
}

#[test]
fn what_a_repository_or_a_cluster_says_is_escaped_and_becomes_no_link() {
    let view = view();
    let frame = Frame::new(false);
    let sources = BTreeMap::from([("git".to_owned(), view)]);
    let view = &sources["git"];
    let all = [
        overview(&sources, &frame).into_string(),
        stack(view, &view.tree.stacks[0], &frame).into_string(),
        missing("<b>", "<script>", &frame).into_string(),
    ];
    for text in all {
        for forbidden in ["<script", "<img", "<b>"] {
            assert!(!text.contains(forbidden), "{forbidden} in {text}");
        }
        for link in text.split("href=\"").skip(1) {
            assert!(link.starts_with(['/', '#', '?']), "{link}");
        }
    }
}

#[test]
fn with_many_stacks_what_needs_attention_comes_first_and_the_page_stays_small() {
    let sources = BTreeMap::from([("git".to_owned(), many(1_000))]);
    let text = overview(&sources, &Frame::new(true)).into_string();
    let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words} is missing"));
    assert!(place("In need of attention: 1 object") < place("1000 stacks, 999 ready, 4000 objects"));
    assert!(place(">shop/s0007<") < place(">shop/s0000<"));
    assert!(
        text.contains("no space") && !text.contains("c8-1"),
        "objects that are ready are on their stack's page"
    );
    assert!(text.len() < 400_000, "{}", text.len());
    assert!(
        !text.contains("http-equiv"),
        "a page that is held still does not come again"
    );
}

#[test]
fn a_stacks_page_names_its_components_in_words_and_in_a_drawing() {
    let mut view = view();
    view.tree.stacks[0].components.push(ComponentNode {
        name: "db".to_owned(),
        state: "ready".to_owned(),
        after: [].into(),
        objects: Vec::new(),
    });
    view.tree.stacks[0].components[0].after = ["db".to_owned()].into();
    let text = stack(&view, &view.tree.stacks[0], &Frame::new(false)).into_string();
    assert!(
        text.contains("<svg") && text.contains("component web") && text.contains("after db"),
        "{text}"
    );
    assert!(
        text.contains("id=\"component-web\"") && text.contains("href=\"#component-web\""),
        "{text}"
    );
}
