//! Combines the pods of a workload and its counts into one verdict. Shared by all kinds that run pods forever.
//!
//! Counts and conditions alone are not trusted: in a crash loop without a readiness probe all of them are right again
//! and again.

use super::{
    Moment, Settings, Verdict,
    finding::{Finding, Severity, next_revisit, worst},
    pod_facts::Pod,
    pod_reasons::{Restarts, look},
    reading::counted,
    sights::Sights,
};

/// How many permanently failed pods, with no replacement running, count as a failure of their owner.
const FAILED_IN_A_ROW: usize = 3;

/// The workload's own status.
pub(super) struct Counts {
    /// Number of pods that must be ready.
    pub(super) wanted: i64,
    /// What is still missing according to the status; `None` if it is complete.
    pub(super) short: Option<String>,
    /// A remark for a good verdict (`1 old pod is still stopping`).
    pub(super) remark: String,
}

/// Judges the relevant pods. `more` are findings about other things (refused pods, deadlines).
pub(super) fn weigh<'a>(
    sights: &Sights,
    settings: &Settings,
    now: Moment,
    pods: impl Iterator<Item = &'a Pod>,
    counts: Counts,
    mut more: Vec<Finding>,
) -> Verdict {
    let (mut ready, mut ready_at, mut steady_at) = (0, now, now);
    let mut failing_pods = 0;
    let pods: Vec<&Pod> = pods.filter(|p| !p.deleting).collect();
    // One pod that was evicted or refused by its node is replaced. If its replacements fail too, they all will.
    let all_fail = counts.short.is_some() && pods.iter().filter(|p| p.phase == "Failed").count() >= FAILED_IN_A_ROW;
    for pod in pods {
        let mut look = look(pod, sights, settings, Restarts::Endless, now);
        if all_fail && pod.phase == "Failed" {
            look.findings.iter_mut().for_each(|f| f.severity = Severity::Failing);
        }
        if look.findings.iter().any(|f| f.severity == Severity::Failing) {
            failing_pods += 1;
        }
        if let (Some(at), Some(steady)) = (look.ready_at, look.steady_at) {
            ready += 1;
            ready_at = ready_at.max(at);
            steady_at = steady_at.max(steady);
        }
        more.append(&mut look.findings);
    }
    let revisit = next_revisit(&more);
    let first = worst(&more);
    if let Some(finding) = first.filter(|f| f.severity == Severity::Failing) {
        let mut verdict = finding.verdict(now);
        if failing_pods > 1 && verdict.because.is_empty() {
            verdict.because = format!("{failing_pods} pods are failing");
        }
        // Time alone can also heal it: a restarted container proves itself.
        return verdict.again(revisit).again((ready_at > now).then_some(ready_at));
    }
    let unseen = !sights.is_blind() && ready < counts.wanted;
    if let Some(short) = counts
        .short
        .or_else(|| unseen.then(|| format!("{ready} of {} ready", counted(counts.wanted, "pod"))))
    {
        let verdict = match first {
            Some(finding) => {
                let mut verdict = finding.verdict(now);
                if verdict.because.is_empty() {
                    verdict.because = short;
                } else {
                    verdict.because = format!("{short}; {}", verdict.because);
                }
                verdict
            }
            None => Verdict::in_progress(now, short),
        };
        return verdict.again(revisit);
    }
    if ready_at > now {
        let mut verdict = match first {
            Some(finding) => finding.verdict(now),
            None => Verdict::in_progress(now, ""),
        };
        verdict.because =
            "all pods are ready, and have not run long enough to be believed (a readiness probe would tell)".to_owned();
        return verdict.again(Some(ready_at)).again(revisit);
    }
    let mut verdict = Verdict::current(now, counts.remark);
    verdict.steady_at = Some(steady_at);
    verdict.again((steady_at > now).then_some(steady_at))
}
