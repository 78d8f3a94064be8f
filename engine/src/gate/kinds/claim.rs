//! PersistentVolumeClaims and PersistentVolumes. A claim has no condition: everything is in its events.
//!
//! A claim that waits for its first consumer counts as ready: waiting for it before starting the consumer would never
//! end.

use crate::{
    gate::{Cause, Heals, Moment, Settings, Verdict, judge::Subject, reading::text, sights::Sights},
    object::ObjectKey,
};

/// The state of a claim according to its events.
pub(in crate::gate) struct Said {
    pub(in crate::gate) heals: Heals,
    pub(in crate::gate) text: String,
    /// What it requests does not exist: that is an error, not a delay.
    missing_since: Option<Moment>,
}

/// The newest event about a pending claim; `None` if the claim is bound, unknown or has no event.
pub(in crate::gate) fn said(sights: &Sights, key: &ObjectKey, _settings: &Settings, _now: Moment) -> Option<Said> {
    let value = &sights.object(key)?.value;
    if text(value, "/status/phase") == "Bound" {
        return None;
    }
    let note = sights.notes(key).newest(text(value, "/metadata/uid"), |n| {
        matches!(
            n.reason.as_str(),
            "FailedBinding"
                | "ExternalProvisioning"
                | "ProvisioningFailed"
                | "Provisioning"
                | "WaitForFirstConsumer"
                | "WaitForPodScheduled"
                | "ProvisioningSucceeded"
        )
    })?;
    let missing = note.reason == "ProvisioningFailed" && note.message.contains("not found");
    let heals = match note.reason.as_str() {
        "FailedBinding" | "ExternalProvisioning" => Heals::Others,
        "ProvisioningFailed" if missing => Heals::Others,
        _ => Heals::Itself,
    };
    Some(Said {
        heals,
        text: note.words(),
        missing_since: missing.then_some(note.first),
    })
}

pub(in crate::gate) fn judge(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    match text(value, "/status/phase") {
        "Bound" => return Verdict::current(now, ""),
        "Lost" => {
            let volume = text(value, "/spec/volumeName");
            let reason = format!("phase Lost: its volume {volume} does not exist any more");
            return Verdict::failed(now, Heals::Others, Cause::Volume, reason);
        }
        _ => {}
    }
    let chosen = "/metadata/annotations/volume.kubernetes.io~1selected-node";
    let has_consumer = !text(value, chosen).is_empty();
    let class = ObjectKey::new(
        "storage.k8s.io",
        "StorageClass",
        "",
        text(value, "/spec/storageClassName"),
    );
    let patient = subject
        .sights
        .object(&class)
        .is_some_and(|c| text(&c.value, "/volumeBindingMode") == "WaitForFirstConsumer");
    let waits = "it will be bound when its first consumer is placed";
    let Some(said) = said(subject.sights, subject.key, subject.settings, now) else {
        return if patient && !has_consumer {
            Verdict::current(now, waits)
        } else {
            Verdict::in_progress(now, "it has no volume yet")
        };
    };
    if said.text.starts_with("WaitForFirstConsumer") && !has_consumer {
        return Verdict::current(now, waits);
    }
    if let Some(since) = said.missing_since {
        let end = since.max(subject.applied.at).plus(subject.settings.event_grace);
        return if end <= now {
            Verdict::failed(now, said.heals, Cause::Volume, said.text)
        } else {
            Verdict::waiting(now, said.heals, Cause::Volume, said.text, "").again(Some(end))
        };
    }
    Verdict::waiting(now, said.heals, Cause::Volume, said.text, "it has no volume yet")
}

/// A PersistentVolume that is part of a stack.
pub(in crate::gate) fn judge_volume(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    match text(value, "/status/phase") {
        "Available" | "Bound" | "Released" => Verdict::current(now, ""),
        "Failed" => {
            let reason = format!("{}: {}", text(value, "/status/reason"), text(value, "/status/message"));
            Verdict::failed(now, Heals::Others, Cause::Volume, reason)
        }
        _ => Verdict::in_progress(now, "it is not available yet"),
    }
}
