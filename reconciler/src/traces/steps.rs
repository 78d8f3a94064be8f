//! The progress of an apply → a span for each component from its first object to its end, and one for each gate.

use super::are_on;
use myelin_engine::apply::{Progress, Run};
use myelin_engine::object::ObjectKey;
use myelin_engine::plan::Plan;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{Span, field};

#[derive(Default)]
struct Steps {
    components: BTreeMap<String, Span>,
    gates: BTreeMap<ObjectKey, Span>,
}

/// A run whose steps are spans below this one; the same run if nothing is collected.
pub(crate) fn traced(run: Run, plan: &Plan, stack: &Span) -> Run {
    if !are_on() {
        return run;
    }
    let of: BTreeMap<ObjectKey, Option<String>> = plan
        .changes
        .iter()
        .map(|change| (change.key.clone(), change.component.clone()))
        .collect();
    let (stack, steps, told) = (stack.clone(), Mutex::new(Steps::default()), Arc::clone(&run.progress));
    Run {
        progress: Arc::new(move |step| {
            let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.note(&step, &stack, &of);
            drop(steps);
            told(step);
        }),
        ..run
    }
}

impl Steps {
    fn note(&mut self, step: &Progress, stack: &Span, of: &BTreeMap<ObjectKey, Option<String>>) {
        match step {
            Progress::Applied(object) => {
                let above = match of.get(object) {
                    Some(Some(name)) => self.components.entry(name.clone()).or_insert_with(|| {
                        tracing::info_span!(parent: stack, "component", myelin.component = name.as_str(), error = field::Empty)
                    }),
                    _ => stack,
                };
                let gate = tracing::info_span!(parent: above, "gate", myelin.object = %object, error = field::Empty);
                self.gates.insert(object.clone(), gate);
            }
            Progress::Ready(object) | Progress::Gone(object) => drop(self.gates.remove(object)),
            Progress::Failed(object, _) => {
                if let Some(gate) = self.gates.remove(object) {
                    gate.record("error", true);
                }
                if let Some(Some(component)) = of.get(object)
                    && let Some(component) = self.components.remove(component)
                {
                    component.record("error", true);
                }
            }
            Progress::ComponentReady(component) => drop(self.components.remove(component)),
            Progress::Waiting(..) => {}
        }
    }
}
