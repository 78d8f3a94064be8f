//! From the pods of a workload, and what its counts say, to one verdict: shared by everything that runs pods for ever.
//!
//! Counts and conditions alone are not believed: a crash loop without a readiness probe has all of them right, again and
//! again.

use super::{
    Moment, Settings, Verdict,
    finding::{Finding, Severity, next_revisit, worst},
    pod_facts::Pod,
    pod_reasons::{Restarts, look},
    reading::counted,
    sights::Sights,
};

/// How many pods that failed for good, with none in their place, make a failure of what makes them.
const FAILED_IN_A_ROW: usize = 3;

/// What a workload's own status says.
pub(super) struct Counts {
    /// Pods that have to be ready.
    pub(super) wanted: i64,
    /// What is still missing according to the status; `None` if it is complete.
    pub(super) short: Option<String>,
    /// What to add to a good verdict (`1 old pod is still stopping`).
    pub(super) remark: String,
}

/// Weighs the pods that count. `more` are findings from beside the pods (refused pods, deadlines).
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
    // One pod that was evicted or refused by its node is replaced. When its replacements fail as well, they all will.
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
