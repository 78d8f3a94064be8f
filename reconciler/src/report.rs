//! A deployment's plan in further forms: data for programs, Markdown for a pull request, a diff for a terminal. Secrets
//! are masked before they get here.

use crate::deployment::{Deployment, WantedStack};
use crate::output::{Colour, Tone};
use crate::pools::PlannedPool;
use crate::tree::printable;
use myelin_engine::desired::masked;
use myelin_engine::fleet::NodeFate;
use myelin_engine::mask::MaskKey;
use myelin_engine::object::ObjectKey;
use myelin_engine::plan::{Action, Change, Plan};
use myelin_engine::yaml::emit;
use serde::Serialize;
use std::fmt::Write as _;

/// GitHub takes 65,536 characters in a comment; the rest of the page needs some.
const LONGEST_COMMENT: usize = 60_000;

/// A deployment as data.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    owner: String,
    hash: String,
    changes: bool,
    stacks: Vec<StackView>,
    removed: Vec<RemovedView>,
    pools: Vec<PoolView>,
    removed_pools: Vec<String>,
}

/// A pool of nodes; no plan when EC2 could not be asked.
#[derive(Debug, Serialize)]
struct PoolView {
    pool: String,
    plan: Option<String>,
    nodes: Vec<NodeView>,
}

#[derive(Debug, Serialize)]
struct NodeView {
    id: String,
    place: String,
    fate: &'static str,
    reason: String,
    /// Its turn, from 1; 0 for nodes to which nothing happens.
    turn: u32,
}

#[derive(Debug, Serialize)]
struct StackView {
    stack: String,
    plan: String,
    unchanged: usize,
    changes: Vec<ChangeView>,
    problems: Vec<ProblemView>,
}

#[derive(Debug, Serialize)]
struct ChangeView {
    object: ObjectKey,
    component: Option<String>,
    action: &'static str,
    reason: String,
    drift: bool,
    /// `file:line` of the manifest; absent for what is removed.
    origin: Option<String>,
    fields: Vec<FieldView>,
}

#[derive(Debug, Serialize)]
struct FieldView {
    path: String,
    before: Option<String>,
    after: Option<String>,
}

#[derive(Debug, Serialize)]
struct ProblemView {
    severity: &'static str,
    summary: String,
    detail: String,
    place: Option<String>,
    object: Option<ObjectKey>,
}

#[derive(Debug, Serialize)]
struct RemovedView {
    stack: String,
    objects: Vec<ObjectKey>,
}

impl View {
    /// The data of a deployment.
    pub(crate) fn of(deployment: &Deployment) -> Self {
        Self {
            owner: deployment.owner.to_string(),
            hash: deployment.hash.clone(),
            changes: !deployment.is_empty(),
            stacks: deployment
                .plans
                .iter()
                .map(|(stack, plan)| stack_view(stack, plan))
                .collect(),
            removed: deployment
                .gone
                .iter()
                .map(|record| RemovedView {
                    stack: record.stack.to_string(),
                    objects: record.entries.keys().cloned().collect(),
                })
                .collect(),
            pools: deployment.pools.planned.iter().map(pool_view).collect(),
            removed_pools: deployment.pools.gone.keys().map(ToString::to_string).collect(),
        }
    }
}

fn pool_view(pool: &PlannedPool) -> PoolView {
    let nodes = pool.plan.iter().flat_map(|plan| &plan.nodes);
    PoolView {
        pool: pool.wanted.id().to_string(),
        plan: pool.plan.as_ref().map(|plan| plan.hash.clone()),
        nodes: nodes
            .map(|node| NodeView {
                id: node.id.clone(),
                place: node.place.clone(),
                fate: node.fate.word(),
                reason: node.reason.clone(),
                turn: node.turn,
            })
            .collect(),
    }
}

fn stack_view(stack: &WantedStack, plan: &Plan) -> StackView {
    let changed = |change: &&Change| change.action != Action::Unchanged;
    StackView {
        stack: stack.id.to_string(),
        plan: plan.hash.clone(),
        unchanged: plan.changes.iter().filter(|change| !changed(change)).count(),
        changes: plan
            .changes
            .iter()
            .filter(changed)
            .map(|change| change_view(stack, change))
            .collect(),
        problems: plan
            .diagnostics
            .iter()
            .map(|problem| ProblemView {
                severity: if problem.is_error() { "error" } else { "warning" },
                summary: problem.summary.clone(),
                detail: problem.detail.clone(),
                place: problem.place.as_ref().map(ToString::to_string),
                object: problem.object.clone(),
            })
            .collect(),
    }
}

fn change_view(stack: &WantedStack, change: &Change) -> ChangeView {
    ChangeView {
        object: change.key.clone(),
        component: change.component.clone(),
        action: change.action.word(),
        reason: change.reason.clone(),
        drift: change.drift,
        origin: origin(stack, &change.key),
        fields: change
            .fields
            .iter()
            .map(|field| FieldView {
                path: field.path.clone(),
                before: field.before.clone(),
                after: field.after.clone(),
            })
            .collect(),
    }
}

fn origin(stack: &WantedStack, key: &ObjectKey) -> Option<String> {
    let object = stack.desired.object(key)?;
    Some(stack.place_of(object).to_string())
}

/// A comment for a pull request: what happens at a glance, the plan below.
pub(crate) fn markdown(deployment: &Deployment) -> String {
    let mut text = format!("### Plan · `{}`\n\n", deployment.hash);
    let problems = deployment.diagnostics();
    if problems.has_errors() {
        text.push_str("**It cannot be applied.**\n\n");
    } else if deployment.is_empty() {
        text.push_str("Nothing changes.\n");
        return text;
    }
    text.push_str("| stack | create | update | replace | remove | unchanged |\n|---|---|---|---|---|---|\n");
    for (stack, plan) in &deployment.plans {
        let count = |actions: &[Action]| plan.changes.iter().filter(|c| actions.contains(&c.action)).count();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            cell(&stack.id.to_string()),
            count(&[Action::Create, Action::Unknown]),
            count(&[Action::Update, Action::Adopt]),
            count(&[Action::Replace]),
            count(&[Action::Prune, Action::Release]),
            count(&[Action::Unchanged]),
        );
    }
    for record in &deployment.gone {
        let name = cell(&record.stack.to_string());
        let _ = writeln!(text, "| {name} (removed) | 0 | 0 | 0 | {} | 0 |", record.entries.len());
    }
    for pool in &deployment.pools.planned {
        let count = |fate| pool.plan.as_ref().map_or(0, |plan| plan.count(fate));
        let _ = writeln!(
            text,
            "| {} (nodes) | {} | 0 | {} | {} | {} |",
            cell(&pool.wanted.id().to_string()),
            count(NodeFate::Launch),
            count(NodeFate::Replace),
            count(NodeFate::Remove),
            count(NodeFate::Keep),
        );
    }
    for (pool, nodes) in &deployment.pools.gone {
        let _ = writeln!(
            text,
            "| {} (nodes, removed) | 0 | 0 | 0 | {nodes} | 0 |",
            cell(&pool.to_string())
        );
    }
    let mut plan = deployment.to_string();
    if plan.len() > LONGEST_COMMENT {
        let mut end = LONGEST_COMMENT;
        while !plan.is_char_boundary(end) {
            end -= 1;
        }
        plan.truncate(end);
        plan.push_str("\n… (shortened; `myelin plan` prints all of it)");
    }
    let fence = fence(&plan);
    let _ = write!(
        text,
        "\n<details{}><summary>Objects and fields</summary>\n\n{fence}text\n{plan}\n{fence}\n\n</details>\n",
        if plan.lines().count() < 40 { " open" } else { "" }
    );
    text
}

/// Longer than every run of backticks in the text, so that nothing in it can end the block.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['<', '>'], "")
}

/// The difference between the cluster and the documents, as `diff` shows it; only foreign changes when `drift`.
pub(crate) fn diff(deployment: &Deployment, drift: bool, colour: Colour) -> String {
    let mut text = String::new();
    for (stack, plan) in &deployment.plans {
        let shown = plan
            .changes
            .iter()
            // What is only reported is a difference as well, though no apply takes it back.
            .filter(|change| change.drift || (!drift && change.action != Action::Unchanged));
        for change in shown {
            one(&mut text, stack, change, colour);
        }
    }
    for record in deployment.gone.iter().filter(|_| !drift) {
        for key in record.entries.keys() {
            let line = format!(
                "- {}: its {} is named by no document",
                key.human(),
                record.stack.title()
            );
            let _ = writeln!(text, "{}", colour.paint(Tone::Bad, &line));
        }
    }
    text
}

fn one(text: &mut String, stack: &WantedStack, change: &Change, colour: Colour) {
    let name = change.key.human();
    let origin = origin(stack, &change.key).unwrap_or_else(|| "not rendered".to_owned());
    let _ = writeln!(text, "--- {name} (live)\n+++ {name} ({origin})");
    if !change.reason.is_empty() {
        let _ = writeln!(text, "@@ {}: {} @@", change.action.word(), printable(&change.reason));
    }
    let mut put = |tone: Tone, sign: char, line: &str| {
        let _ = writeln!(text, "{}", colour.paint(tone, &format!("{sign} {}", printable(line))));
    };
    match change.action {
        Action::Create | Action::Unknown => {
            let Some(object) = stack.desired.object(&change.key) else {
                put(Tone::Good, '+', "(its value is minted at apply and never shown)");
                return;
            };
            let key = MaskKey::of_identity(&stack.id.namespace, &stack.id.name);
            for line in emit(&masked(&object.value, &object.write_only, &key)).lines() {
                put(Tone::Good, '+', line);
            }
        }
        Action::Prune => put(Tone::Bad, '-', "(deleted)"),
        _ => {
            for field in &change.fields {
                if let Some(before) = &field.before {
                    put(Tone::Bad, '-', &format!("{}: {before}", field.path));
                }
                if let Some(after) = &field.after {
                    put(Tone::Good, '+', &format!("{}: {after}", field.path));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_plan_ends_the_block_that_quotes_it() {
        assert_eq!(fence("a `b` c"), "```");
        assert_eq!(fence("a ```` b"), "`````");
        assert_eq!(cell("a|b<c>"), "a\\|bc");
    }
}
