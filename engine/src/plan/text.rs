//! The plan as text: the same in every front end.

use super::{Action, Plan};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: Vec<(Action, usize)> = Vec::new();
        for change in &self.changes {
            match counts.iter_mut().find(|(action, _)| *action == change.action) {
                Some((_, n)) => *n += 1,
                None => counts.push((change.action, 1)),
            }
        }
        counts.sort_unstable();
        let words: Vec<String> = counts
            .iter()
            .map(|(action, n)| format!("{n} {}", action.word()))
            .chain((!self.asks.is_empty()).then(|| format!("{} to verify", self.asks.len())))
            .collect();
        writeln!(
            f,
            "{}: {}",
            self.desired.stack.title(),
            if words.is_empty() {
                "nothing".into()
            } else {
                words.join(", ")
            }
        )?;
        for change in self
            .changes
            .iter()
            .filter(|c| c.action != Action::Unchanged || !c.reason.is_empty())
        {
            let component = change.component.as_ref().map(|c| format!(" [{c}]")).unwrap_or_default();
            write!(f, "  {} {}{component}", change.action.word(), change.key.human())?;
            if change.reason.is_empty() {
                writeln!(f)?;
            } else {
                writeln!(f, ": {}", change.reason)?;
            }
            for field in &change.fields {
                let from = field.origin.as_ref().map(|o| format!("  ({o})")).unwrap_or_default();
                match (&field.before, &field.after) {
                    (Some(before), Some(after)) => writeln!(f, "      {}: {before} -> {after}{from}", field.path)?,
                    (None, Some(after)) => writeln!(f, "    + {}: {after}{from}", field.path)?,
                    (Some(before), None) => writeln!(f, "    - {}: {before}", field.path)?,
                    (None, None) => {}
                }
            }
        }
        for component in &self.asks {
            writeln!(f, "  verify component {component}: what it is asked has changed")?;
        }
        for diagnostic in self.diagnostics.iter() {
            writeln!(f, "{diagnostic}")?;
        }
        write!(f, "plan {}", self.hash)
    }
}
