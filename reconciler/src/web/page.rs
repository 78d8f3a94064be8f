//! The page: sources, stacks, components, objects and pools with their states and reasons, and the commits. Pure. The
//! templates escape everything that comes from a repository or a cluster, and none of it becomes a link to another
//! site.
//!
//! A small source is shown completely; for a large one, what needs attention comes first and each stack has a page of
//! its own. There is no script: sections that were opened by one would close at every reload.

mod diagram;

use super::View;
use super::style::STYLE;
use crate::control::Taken;
use crate::output::{Tone, ago, short, tone};
use crate::tree::{ComponentNode, ObjectNode, SourceNode, StackNode};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::collections::BTreeMap;

/// Up to this number of objects, everything is on the first page.
const SMALL: usize = 150;
/// Objects in need of attention that the first page lists.
const ATTENTION: usize = 50;
/// Between two comings of the page, in seconds.
const AGAIN: u32 = 10;

/// What is around every page.
pub(super) struct Frame {
    still: bool,
    now: jiff::Timestamp,
}

impl Frame {
    /// `still` pages do not come again by themselves.
    pub(super) fn new(still: bool) -> Self {
        Self {
            still,
            now: jiff::Timestamp::now(),
        }
    }

    /// The suffix that keeps a page still from link to link.
    fn query(&self) -> &'static str {
        if self.still { "?still" } else { "" }
    }

    fn page(&self, title: &str, content: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    @if !self.still { meta http-equiv="refresh" content=(AGAIN); }
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header {
                        h1 { a href={ "/" (self.query()) } { "Myelin" } }
                        span.soft.push { "as of " time datetime=(self.now) { (self.now.strftime("%F %T UTC")) } }
                        @if self.still { a href="?" { "Follow: come again every " (AGAIN) " seconds" } }
                        @else { a href="?still" { "Hold this page still" } }
                    }
                    main id="main" tabindex="-1" { (content) }
                }
            }
        }
    }
}

/// Everything at a glance.
pub(super) fn overview(sources: &BTreeMap<String, View>, frame: &Frame) -> Markup {
    let bad = sources
        .values()
        .filter(|view| tone(&view.status.state) == Tone::Bad)
        .count();
    let title = match bad {
        0 => "Myelin".to_owned(),
        bad => format!("({bad}) Myelin"),
    };
    let content = html! {
        @if sources.is_empty() { p { "No source is configured." } }
        @for view in sources.values() { (source(view, frame)) }
    };
    frame.page(&title, &content)
}

/// One stack.
pub(super) fn stack(view: &View, stack: &StackNode, frame: &Frame) -> Markup {
    let content = html! {
        section.card aria-labelledby="stack" {
            p.soft { "source " a href={ "/" (frame.query()) } { (view.tree.name) } }
            h2 id="stack" { (stack.name) (state(&stack.state)) }
            @if let Some(word) = view.status.stacks.get(&stack.name).filter(|word| **word != stack.state) { p { (word) } }
            p.soft {
                (count(stack.objects().count(), "object"))
                @if !stack.plan.is_empty() { ", last plan " code { (stack.plan) } }
            }
            (drift(view, Some(&stack.name)))
            @if stack.components.len() > 1 {
                h3 { "Components in the order in which they start" }
                div.wide { (diagram::components(&stack.components)) }
            }
            @for component in &stack.components {
                h3 id=(anchor(component)) { (called(component)) " " (state(&component.state)) }
                @if !component.after.is_empty() {
                    p.soft { "after " (component.after.iter().map(String::as_str).collect::<Vec<_>>().join(", ")) }
                }
                (objects(&component.objects))
            }
            (tokens(stack))
        }
    };
    frame.page(&format!("{} - Myelin", stack.name), &content)
}

/// What is not there.
pub(super) fn missing(source: &str, stack: &str, frame: &Frame) -> Markup {
    let content = html! {
        p { "Source " code { (source) } " has no stack " code { (stack) } ". " a href={ "/" (frame.query()) } { "All sources" } }
    };
    frame.page("Not there - Myelin", &content)
}

fn source(view: &View, frame: &Frame) -> Markup {
    let (status, tree) = (&view.status, &view.tree);
    let objects: usize = tree.stacks.iter().map(|stack| stack.objects().count()).sum();
    let id = format!("source-{}", tree.name);
    html! {
        section.card aria-labelledby=(id) {
            h2 id=(id) { "Source " (tree.name) (state(&status.state)) }
            (commit(tree, frame))
            @if !status.message.is_empty() { pre { (status.message) } }
            @if let Some(plan) = &status.unconfirmed {
                p { "Waits for a yes: " code { "myelin confirm " (tree.name) " " (plan) } }
            }
            @if !status.waiting.is_empty() {
                h3 { "Waits for" }
                ul { @for (object, why) in &status.waiting { li { (object) ": " (why) } } }
            }
            (drift(view, None))
            @if objects <= SMALL { (graph(tree, frame)) } @else { (attention(tree, frame)) (stacks(tree, objects, frame)) }
            (pools(tree))
            (commits(&status.history, frame))
        }
    }
}

fn commit(tree: &SourceNode, frame: &Frame) -> Markup {
    html! {
        p {
            @match &tree.commit {
                Some(commit) => {
                    "at commit " code title=(commit) { (short(commit)) }
                    @if !tree.subject.is_empty() { " \u{201c}" (tree.subject) "\u{201d}" }
                    @if let Some(taken) = tree.taken { ", taken " (ago(frame.now.as_second() - taken)) " ago" }
                }
                None => "no commit yet"
            }
            @if let Some(head) = tree.head.as_ref().filter(|head| Some(*head) != tree.commit.as_ref()) {
                "; the branch is at " code title=(head) { (short(head)) }
            }
            @if let Some(held) = &tree.held { "; held at " code title=(held) { (short(held)) } " until " code { "myelin release" } }
        }
    }
}

/// Source, stacks, components, objects, all of them.
fn graph(tree: &SourceNode, frame: &Frame) -> Markup {
    html! {
        @if !tree.stacks.is_empty() {
            h3 { "What it keeps" }
            ul.tree {
                @for stack in &tree.stacks {
                    li {
                        (stack_name(tree, stack, frame)) " " (state(&stack.state))
                        @if !stack.components.is_empty() || !stack.tokens.is_empty() {
                            ul {
                                @for component in &stack.components {
                                    li {
                                        (called(component)) " " (state(&component.state))
                                        @if !component.after.is_empty() {
                                            span.soft { " after " (component.after.iter().map(String::as_str).collect::<Vec<_>>().join(", ")) }
                                        }
                                        ul { @for object in &component.objects { li {
                                            (object.object.human()) " " (state(&object.state))
                                            @if !object.reason.is_empty() { " " span.soft { (object.reason) } }
                                        } } }
                                    }
                                }
                                @if !stack.tokens.is_empty() { li { "tokens: " (stack.tokens.join(", ")) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is not as it should be.
fn attention(tree: &SourceNode, frame: &Frame) -> Markup {
    let bad = |object: &&ObjectNode| object.state != "ready";
    let of = |stack: &StackNode| stack.objects().filter(bad).count();
    let all: usize = tree.stacks.iter().map(of).sum();
    let some = tree
        .stacks
        .iter()
        .flat_map(|stack| stack.objects().filter(bad).map(move |object| (stack, object)));
    html! {
        @if all > 0 {
            h3 { "In need of attention: " (count(all, "object")) }
            ul.tree {
                @for (stack, object) in some.take(ATTENTION) {
                    li {
                        (state(&object.state)) " " (object.object.human()) " of " (stack_name(tree, stack, frame))
                        @if !object.reason.is_empty() { " " span.soft { (object.reason) } }
                    }
                }
                @if all > ATTENTION { li.soft { "and " (all - ATTENTION) " more, on the pages of their stacks" } }
            }
        }
    }
}

/// All stacks, those that are not ready first.
fn stacks(tree: &SourceNode, objects: usize, frame: &Frame) -> Markup {
    let mut order: Vec<&StackNode> = tree.stacks.iter().collect();
    order.sort_by_key(|stack| tone(&stack.state) == Tone::Good);
    let ready = order.iter().filter(|stack| tone(&stack.state) == Tone::Good).count();
    html! {
        h3 { (count(order.len(), "stack")) ", " (ready) " ready, " (count(objects, "object")) }
        ul.stacks { @for stack in order { li { (stack_name(tree, stack, frame)) (state(&stack.state)) } } }
    }
}

fn stack_name(tree: &SourceNode, stack: &StackNode, frame: &Frame) -> Markup {
    match stack.name.split_once('/') {
        Some((namespace, name)) => html! {
            a href={ "/stacks/" (path(&tree.name)) "/" (path(namespace)) "/" (path(name)) (frame.query()) } { (stack.name) }
        },
        None => html! { (stack.name) },
    }
}

/// A name as one part of a path. Names of Kubernetes need none of this; what claims to be one may.
fn path(name: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape = |byte: u8| {
        if safe(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    name.bytes().map(escape).collect()
}

fn drift(view: &View, only: Option<&str>) -> Markup {
    let shown = |(stack, _): &(&String, &Vec<String>)| only.is_none_or(|only| *stack == only);
    let all: Vec<_> = view.status.drift.iter().filter(shown).collect();
    html! {
        @if !all.is_empty() {
            h3 { "Drift that is reported and left" }
            ul { @for (stack, lines) in all { @for line in lines { li { @if only.is_none() { (stack) ": " } (line) } } } }
        }
    }
}

fn pools(tree: &SourceNode) -> Markup {
    html! {
        @if !tree.pools.is_empty() {
            h3 { "Pools of nodes" }
            ul.tree {
                @for (name, pool) in &tree.pools {
                    li {
                        (name) " " (state(&pool.state))
                        @if !pool.reason.is_empty() { " " span.soft { (pool.reason) } }
                        @if !pool.nodes.is_empty() { ul { @for node in &pool.nodes { li { (node) } } } }
                    }
                }
            }
        }
    }
}

fn objects(objects: &[ObjectNode]) -> Markup {
    html! {
        @if objects.is_empty() { p.soft { "nothing in it yet" } }
        @else {
            div.wide { table {
                thead { tr { th scope="col" { "Object" } th scope="col" { "State" } th scope="col" { "Why" } } }
                tbody { @for node in objects { tr {
                    th scope="row" { (node.object.human()) } td { (state(&node.state)) } td { (node.reason) }
                } } }
            } }
        }
    }
}

fn tokens(stack: &StackNode) -> Markup {
    html! { @if !stack.tokens.is_empty() { h3 { "Tokens" } p { (stack.tokens.join(", ")) } } }
}

fn commits(history: &[Taken], frame: &Frame) -> Markup {
    html! {
        @if !history.is_empty() {
            h3 { "Commits, the newest first" }
            ol.line {
                @for taken in history {
                    li class={ "is-" (class(&taken.state)) } {
                        (state(&taken.state)) " " code title=(taken.commit) { (short(&taken.commit)) } " " (taken.subject)
                        br;
                        span.soft {
                            (taken.author) ", "
                            @let at = jiff::Timestamp::from_second(taken.at).unwrap_or_default();
                            time datetime=(at) title=(at) { (ago(frame.now.as_second() - taken.at)) " ago" }
                            @if let Some(plan) = &taken.plan { ", plan " code { (short(plan)) } }
                        }
                    }
                }
            }
        }
    }
}

/// A state as a word, a sign and a colour.
fn state(state: &str) -> Markup {
    let sign = match class(state) {
        "good" => "\u{2713}",
        "bad" => "\u{2715}",
        "note" => "\u{25d4}",
        _ => "\u{b7}",
    };
    html! { span class={ "state " (class(state)) } title=(state) { span aria-hidden="true" { (sign) " " } (state) } }
}

fn class(state: &str) -> &'static str {
    match tone(state) {
        Tone::Good => "good",
        Tone::Note => "note",
        Tone::Bad => "bad",
        Tone::Faint => "faint",
    }
}

fn called(component: &ComponentNode) -> Markup {
    html! {
        @if component.name.is_empty() {
            span title="what belongs to no component, and is applied before all of them" { "base" }
        } @else {
            "component " (component.name)
        }
    }
}

/// Where the component is on its stack's page.
fn anchor(component: &ComponentNode) -> String {
    format!("component-{}", path(&component.name))
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
pub(super) mod tests;
