//! Indexed jobs: each completion has a number, and is done once.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{object, pods};
use crate::kubernetes::store::Object;

const INDEX: &str = "batch.kubernetes.io/job-completion-index";

pub(super) fn is_indexed(job: &Value) -> bool {
    object::text(job, "/spec/completionMode") == "Indexed"
}

fn index(pod: &Value) -> Option<i64> {
    object::annotation(pod, INDEX)?.parse().ok()
}

/// `0-2,5` as numbers.
fn parse(text: &str) -> Vec<i64> {
    let ranges = text.split(',').filter(|range| !range.is_empty());
    let ranges = ranges.filter_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        Some(from.parse::<i64>().ok()?..=to.parse::<i64>().ok()?)
    });
    ranges.flat_map(|range| range.take(100_000)).collect()
}

/// Numbers as `0-2,5`.
pub(super) fn text(indexes: &[i64]) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while at < indexes.len() {
        let mut end = at;
        while end + 1 < indexes.len() && indexes[end + 1] == indexes[end] + 1 {
            end += 1;
        }
        out.push(match end - at {
            0 => indexes[at].to_string(),
            1 => format!("{},{}", indexes[at], indexes[end]),
            _ => format!("{}-{}", indexes[at], indexes[end]),
        });
        at = end + 1;
    }
    out.join(",")
}

/// The indexes that are done, in order.
pub(super) fn done(job: &Value, pods: &[Arc<Object>]) -> Vec<i64> {
    let mut all = parse(object::text(job, "/status/completedIndexes"));
    all.extend(
        pods.iter()
            .filter(|pod| pods::phase(pod.value()) == "Succeeded")
            .filter_map(|pod| index(pod.value())),
    );
    all.sort_unstable();
    all.dedup();
    all
}

pub(super) fn complete(job: &Value, pods: &[Arc<Object>]) -> bool {
    let wanted = object::number(job, "/spec/completions").unwrap_or(1);
    i64::try_from(done(job, pods).len()).is_ok_and(|count| count >= wanted)
}

/// Indexes that are neither done nor being worked on.
pub(super) fn free(job: &Value, pods: &[Arc<Object>], count: usize) -> Vec<i64> {
    let done = done(job, pods);
    let busy: Vec<i64> = pods
        .iter()
        .filter(|pod| pods::is_active(pod.value()))
        .filter_map(|pod| index(pod.value()))
        .collect();
    let all = 0..object::number(job, "/spec/completions").unwrap_or(1);
    all.filter(|i| done.binary_search(i).is_err() && !busy.contains(i))
        .take(count)
        .collect()
}

/// Write its index onto a pod, and into the environment of its containers.
pub(super) fn mark(job: &Value, pod: &mut Value, index: i64) {
    let name = format!("{}-{index}", object::name(job));
    object::object_mut(&mut pod["metadata"], "annotations").insert(INDEX.to_owned(), index.to_string().into());
    object::object_mut(&mut pod["metadata"], "labels").insert(INDEX.to_owned(), index.to_string().into());
    pod["metadata"]["generateName"] = format!("{name}-").into();
    if pod["spec"]["hostname"].is_null() {
        pod["spec"]["hostname"] = name.into();
    }
    let variable = json!({"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": format!("metadata.labels['{INDEX}']")}}});
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            match container["env"].as_array_mut() {
                Some(env) => env.push(variable.clone()),
                None => container["env"] = json!([variable]),
            }
        }
    }
    if pod["spec"]["initContainers"].is_null()
        && let Some(spec) = pod["spec"].as_object_mut()
    {
        spec.remove("initContainers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_ranges_and_read_back() {
        for (numbers, written) in [(vec![0, 1, 2, 5], "0-2,5"), (vec![1, 2], "1,2"), (vec![], "")] {
            assert_eq!(text(&numbers), written);
            assert_eq!(parse(written), numbers);
        }
    }
}
