//! What is wrong with one pod, with the pod's own messages, and whether its readiness can be trusted.
//!
//! Judges a pod on its own; the owner's rule decides what a failing pod means for the owner. Crash loops are in
//! `crashes`.

use super::{
    Cause, Heals, LogSource, Moment, Settings, crashes,
    events::{Note, Notes},
    finding::{Finding, Severity},
    healing,
    pod_facts::{Container, Pod, Role, Run, Scheduled},
    sights::Sights,
};
use crate::object::ObjectKey;

/// The result of judging a pod.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) findings: Vec<Finding>,
    /// When its readiness is or becomes trusted; `None` if it is not ready.
    pub(super) ready_at: Option<Moment>,
    /// When it has been running long enough to be trusted for good.
    pub(super) steady_at: Option<Moment>,
}

/// What limits the crashes of a pod's containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restarts {
    /// Nothing: the kubelet restarts them forever, so the gate has to count.
    Endless,
    /// A Job, which has its own limit.
    Limited,
}

/// Judges one pod.
pub(super) fn look(pod: &Pod, sights: &Sights, settings: &Settings, restarts: Restarts, now: Moment) -> Look {
    let key = ObjectKey::new("", "Pod", &pod.namespace, &pod.name);
    let scene = Scene {
        pod,
        notes: sights.notes(&key),
        settings,
        now,
    };
    let mut look = Look::default();
    scene.unscheduled(sights, &mut look.findings);
    for container in &pod.containers {
        scene.container(container, restarts, &mut look.findings);
    }
    scene.mounts(&mut look.findings);
    if pod.ready && pod.phase == "Running" {
        let mut ready_at = now;
        let mut steady_at = now;
        for container in pod.containers.iter().filter(|c| c.role != Role::Init) {
            ready_at = ready_at.max(scene.believed_at(container));
            steady_at = steady_at.max(scene.up_since(container, settings.steady_uptime));
        }
        look.ready_at = Some(ready_at);
        look.steady_at = Some(steady_at.max(ready_at));
    } else if pod.phase == "Failed" && restarts == Restarts::Endless {
        look.findings.push(scene.failed());
    } else if look.findings.is_empty() {
        scene.silent(&mut look.findings);
    }
    look
}

struct Scene<'a> {
    pod: &'a Pod,
    notes: &'a Notes,
    settings: &'a Settings,
    now: Moment,
}

impl Scene<'_> {
    fn place(&self, container: &Container) -> String {
        let role = match container.role {
            Role::Init => "init container",
            Role::Sidecar => "sidecar",
            Role::Main => "container",
        };
        format!("pod {} {role} {}", self.pod.name, container.name)
    }

    fn log(&self, container: &Container) -> LogSource {
        LogSource {
            namespace: self.pod.namespace.clone(),
            pod: self.pod.name.clone(),
            container: container.name.clone(),
            previous: !matches!(container.run, Run::Ended(_)) && container.last.is_some(),
        }
    }

    fn about<'n>(&'n self, container: &'n Container, reason: &'n str) -> impl Iterator<Item = &'n Note> {
        self.notes
            .of(&self.pod.uid)
            .filter(move |n| n.reason == reason && n.container == container.name)
    }

    /// The moment from which the container's readiness is trusted.
    fn believed_at(&self, container: &Container) -> Moment {
        let crashed = crashes::counted(container) > 0;
        let needed = if crashed {
            crashes::time_to_prove_itself(container, self.settings)
        } else if container.probed {
            return self.quiet_from(container).unwrap_or(self.now);
        } else {
            self.settings.unprobed_uptime
        };
        let up = self.up_since(container, needed);
        self.quiet_from(container).map_or(up, |quiet| quiet.max(up))
    }

    /// When the container will have run for this long. The start time in the status counts only beyond the possible
    /// clock skew.
    fn up_since(&self, container: &Container, needed: std::time::Duration) -> Moment {
        let Run::Running { started } = container.run else {
            return self.now;
        };
        if let Some(started) = started
            && started.plus(needed).plus(self.settings.clock_skew) <= self.now
        {
            return self.now;
        }
        container.running_since().unwrap_or(self.now).plus(needed)
    }

    /// A container whose liveness probe has just failed is about to be restarted.
    fn quiet_from(&self, container: &Container) -> Option<Moment> {
        let since = container.running_since()?;
        self.about(container, "Unhealthy")
            .filter(|n| n.message.starts_with("Liveness") && n.last >= since)
            .map(|n| n.last.plus(self.settings.liveness_quiet))
            .max()
    }

    fn unscheduled(&self, sights: &Sights, findings: &mut Vec<Finding>) {
        let (now, settings) = (self.now, self.settings);
        match &self.pod.scheduled {
            Scheduled::Yes => {}
            Scheduled::Gated(words) => findings.push(Finding::new(
                Severity::Waiting,
                Heals::Others,
                Cause::Schedule,
                now,
                format!("pod {}: {words}", self.pod.name),
            )),
            Scheduled::Unsaid => findings.extend(self.claims(sights, now, "")),
            Scheduled::No { reason, message, since } => {
                let words = format!("pod {}: {reason}: {message}", self.pod.name);
                let coming = self.notes.newest(&self.pod.uid, |n| {
                    matches!(
                        n.reason.as_str(),
                        "TriggeredScaleUp" | "NotTriggerScaleUp" | "Nominated" | "FailedScaleUp"
                    )
                });
                if let Some(note) = coming
                    && matches!(note.reason.as_str(), "TriggeredScaleUp" | "Nominated")
                {
                    let text = format!("{words}; {}", note.words());
                    findings.push(
                        Finding::new(Severity::Waiting, Heals::Itself, Cause::Schedule, *since, text)
                            .because("a node is on its way"),
                    );
                } else if message.contains("unbound") {
                    match self.claims(sights, *since, &words) {
                        Some(claim) => findings.push(claim),
                        None => findings.push(Finding::graced(
                            Heals::Others,
                            Cause::Volume,
                            *since,
                            settings.claim_grace,
                            now,
                            words,
                        )),
                    }
                } else {
                    let missing = message.contains("persistentvolumeclaim") && message.contains("not found");
                    let (cause, grace) = if missing {
                        (Cause::Volume, settings.event_grace)
                    } else {
                        (Cause::Schedule, settings.schedule_grace)
                    };
                    findings.push(Finding::graced(Heals::Others, cause, *since, grace, now, words));
                }
            }
        }
    }

    /// What the pod's claims wait for. A pod may report nothing at all while one of them waits for its volume.
    fn claims(&self, sights: &Sights, since: Moment, words: &str) -> Option<Finding> {
        let claims = self.pod.claims.iter();
        claims
            .filter_map(|name| {
                let key = ObjectKey::new("", "PersistentVolumeClaim", &self.pod.namespace, name);
                let said = super::kinds::claim::said(sights, &key, self.settings, self.now)?;
                let text = format!("claim {name}: {}", said.text);
                let text = if words.is_empty() {
                    format!("pod {}: {text}", self.pod.name)
                } else {
                    format!("{words}; {text}")
                };
                // If the pod is unschedulable because of it, the scheduler has judged it; otherwise it only waits.
                let finding = if words.is_empty() || said.heals == Heals::Itself {
                    Finding::new(Severity::Waiting, said.heals, Cause::Volume, since, text)
                } else {
                    let grace = self.settings.claim_grace;
                    Finding::graced(said.heals, Cause::Volume, since, grace, self.now, text)
                };
                Some(finding)
            })
            .max_by_key(|f| (f.severity, f.heals == Heals::Others))
    }

    fn container(&self, container: &Container, restarts: Restarts, findings: &mut Vec<Finding>) {
        let place = self.place(container);
        let since = container.memory.since;
        let failing = |heals, cause, words: String| {
            Finding::new(Severity::Failing, heals, cause, since, format!("{place}: {words}"))
        };
        if let Some(finding) = self.cannot_start(container, &place) {
            findings.push(finding);
            return;
        }
        match &container.run {
            Run::Waiting { reason, message } => match reason.as_str() {
                "" | "ContainerCreating" | "PodInitializing" => {
                    findings.extend(self.creating(container, &place));
                }
                "InvalidImageName" => {
                    findings.push(failing(Heals::Spec, Cause::Image, format!("{reason}: {message}")));
                }
                "ErrImageNeverPull" => {
                    findings.push(failing(Heals::Others, Cause::Image, format!("{reason}: {message}")));
                }
                "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ImageInspectError" => {
                    findings.push(self.image(container, &place, reason, message));
                }
                "CreateContainerConfigError" | "CreateContainerError" => findings.push(failing(
                    healing::config(message),
                    Cause::Config,
                    format!("{reason}: {message}"),
                )),
                "RunContainerError" => findings.push(failing(
                    healing::start(message),
                    Cause::Start,
                    format!("{reason}: {message}"),
                )),
                "PostStartHookError" => {
                    let hook = self.about(container, "FailedPostStartHook").last();
                    let hook = hook.map_or(String::new(), |n| format!("; {}", n.words()));
                    let words = format!("{reason}: {message}{hook}");
                    findings.push(failing(Heals::Itself, Cause::Start, words).log(self.log(container)));
                }
                "CrashLoopBackOff" => {}
                _ => findings.push(Finding::new(
                    Severity::Waiting,
                    Heals::Itself,
                    Cause::Start,
                    since,
                    format!("{place}: {reason}: {message}"),
                )),
            },
            Run::Running { .. } => findings.extend(self.running(container, &place)),
            Run::Ended(_) => {}
        }
        let said = |n: &&Note| matches!(n.reason.as_str(), "BackOff" | "Unhealthy" | "Killing");
        let notes: Vec<&Note> = self
            .notes
            .of(&self.pod.uid)
            .filter(|n| n.container == container.name)
            .filter(said)
            .collect();
        if !self.pod.deleting
            && let Some(crash) = crashes::judge(container, &notes, &self.pod.restart_policy, self.settings, self.now)
        {
            let hook = &container.memory.hook_error;
            let severity = match restarts {
                Restarts::Limited => Severity::Waiting,
                // A failing hook kills the container, so its ends are not accidental.
                Restarts::Endless if !hook.is_empty() => Severity::Failing,
                Restarts::Endless => crash.severity,
            };
            let mut text = format!("{place}: {}", crash.text);
            if !hook.is_empty() {
                text.push_str(&format!("; {hook}"));
            }
            let mut finding = Finding::new(severity, Heals::Itself, crash.cause, crash.since, text);
            finding.revisit = crash.revisit;
            finding.proved = crash.proved && severity == Severity::Failing;
            findings.push(finding.log(self.log(container)));
        }
    }

    /// A command that cannot run appears as the end of a run that never existed.
    fn cannot_start(&self, container: &Container, place: &str) -> Option<Finding> {
        let (latest, _) = container.latest_ends();
        let exit = latest.filter(|e| matches!(e.reason.as_str(), "StartError" | "ContainerCannotRun"))?;
        let running_well = matches!(container.run, Run::Running { .. });
        if running_well || container.ended_since_seen() == 0 {
            return None;
        }
        let heals = healing::start(&exit.message);
        let text = format!("{place}: {}", exit.words());
        Some(Finding::new(
            Severity::Failing,
            heals,
            Cause::Start,
            container.memory.since,
            text,
        ))
    }

    fn image(&self, container: &Container, place: &str, reason: &str, message: &str) -> Finding {
        let note = self
            .about(container, "Failed")
            .filter(|n| n.message.starts_with("Failed to pull"));
        let remembered = &container.memory.pull_error;
        // The back-off repeats the cause on newer clusters but not on older ones.
        let words = if reason == "ImagePullBackOff" && !message.contains(": ") {
            let said = note.last().map(|n| n.message.as_str());
            let said = said.or(Some(remembered.as_str()).filter(|r| !r.is_empty()));
            said.map_or_else(
                || format!("{reason}: {message}"),
                |said| format!("{reason}: {message}: {said}"),
            )
        } else {
            format!("{reason}: {message}")
        };
        Finding::new(
            Severity::Failing,
            healing::image(&words),
            Cause::Image,
            container.memory.since,
            format!("{place}: {words}"),
        )
    }

    /// Events report problems with images and configurations half a second before the status does.
    fn creating(&self, container: &Container, place: &str) -> Option<Finding> {
        let since = container.memory.since;
        let failed = self
            .about(container, "Failed")
            .filter(|n| n.last >= since)
            .filter(|n| !matches!(n.message.as_str(), "Error: ErrImagePull" | "Error: ImagePullBackOff"));
        let note = failed.max_by_key(|n| n.last)?;
        let healed = ["Pulled", "Created", "Started"]
            .iter()
            .flat_map(|reason| self.about(container, reason))
            .any(|n| note.message.starts_with("Failed to pull") && Notes::after(n, note));
        if healed {
            return None;
        }
        let text = format!("{place}: {}", note.words());
        let said = note.message.trim_start_matches("Error: ");
        let (heals, cause) = if note.message.starts_with("Failed to pull") {
            (healing::image(said), Cause::Image)
        } else if said == "InvalidImageName" {
            (Heals::Spec, Cause::Image)
        } else if said == "ErrImageNeverPull" {
            (Heals::Others, Cause::Image)
        } else if said.contains("failed to create containerd task") || said.contains("exec:") {
            (healing::start(said), Cause::Start)
        } else {
            (healing::config(said), Cause::Config)
        };
        Some(Finding::new(
            Severity::Failing,
            heals,
            cause,
            note.first.max(since),
            text,
        ))
    }

    /// A container that runs but is not ready, or that delays the others.
    fn running(&self, container: &Container, place: &str) -> Option<Finding> {
        let since = container.memory.since;
        if container.role == Role::Init {
            let finding = Finding::new(Severity::Waiting, Heals::Itself, Cause::Held, since, String::new());
            let because = format!("{place} has been running all the time");
            return Some(finding.because(because).log(self.log(container)));
        }
        if container.ready || self.pod.deleting {
            return None;
        }
        let unhealthy = self
            .about(container, "Unhealthy")
            .filter(|n| n.last >= since && !n.message.contains("errored"))
            .max_by_key(|n| n.last);
        let finding = match unhealthy {
            Some(note) => Finding::new(
                Severity::Waiting,
                Heals::Itself,
                Cause::Probe,
                since,
                format!("{place}: {}", note.message),
            ),
            None => Finding::new(Severity::Waiting, Heals::Itself, Cause::Probe, since, String::new())
                .because(format!("{place} runs and is not ready yet")),
        };
        Some(finding.log(self.log(container)))
    }

    fn mounts(&self, findings: &mut Vec<Finding>) {
        let creating = |c: &Container| matches!(&c.run, Run::Waiting { reason, .. } if matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing"));
        // Volumes are mounted before the first container is created.
        if self.pod.phase != "Pending" || !self.pod.containers.iter().all(creating) {
            return;
        }
        let about_volumes = |n: &Note| matches!(n.reason.as_str(), "FailedMount" | "FailedAttachVolume");
        let Some(note) = self.notes.newest(&self.pod.uid, about_volumes) else {
            return;
        };
        let text = format!("pod {}: {}", self.pod.name, note.words());
        findings.push(match healing::mount(&note.message) {
            Some(heals) => Finding::graced(
                heals,
                Cause::Mount,
                note.first,
                self.settings.event_grace,
                self.now,
                text,
            ),
            None => Finding::new(Severity::Waiting, Heals::Itself, Cause::Mount, note.first, text),
        });
    }

    /// Evicted, or refused by its node. Its owner creates another; what matters is whether that one survives.
    fn failed(&self) -> Finding {
        let parts = [self.pod.reason.as_str(), self.pod.message.as_str()];
        let words: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        let heals = if self.pod.reason == "SysctlForbidden" {
            Heals::Spec
        } else {
            Heals::Itself
        };
        let text = format!("pod {} has failed: {}", self.pod.name, words.join(": "));
        Finding::new(Severity::Waiting, heals, Cause::Ended, self.now, text)
    }

    /// Not ready, without any reported reason.
    fn silent(&self, findings: &mut Vec<Finding>) {
        if self.pod.finished() || self.pod.deleting {
            return;
        }
        let creating: Vec<&str> = self
            .pod
            .containers
            .iter()
            .filter(|c| matches!(c.run, Run::Waiting { .. }))
            .map(|c| c.name.as_str())
            .collect();
        let because = if self.pod.containers.is_empty() {
            format!("pod {} has not been started by its node yet", self.pod.name)
        } else if creating.is_empty() {
            format!("pod {} is not ready yet", self.pod.name)
        } else {
            format!("pod {}: {} being created", self.pod.name, creating.join(", "))
        };
        findings.push(
            Finding::new(Severity::Waiting, Heals::Itself, Cause::Start, self.now, String::new()).because(because),
        );
    }
}
