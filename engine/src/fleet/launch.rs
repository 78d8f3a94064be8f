//! Launches nodes: writes the intent, sends one CreateFleet for each lifecycle, then requests the rest elsewhere until
//! no offering is left.
//!
//! No capacity is an answer, not an error to retry: a refused offering is cooled and not tried again in this run, and
//! the run ends when all are refused.

use super::apply::Runner;
use super::identity::{HASH_VERSION, TAG_HASH, TAG_HASH_VERSION, launch_tags, template_body, template_name};
use super::intent::{self, Intent, SEATS};
use super::node::since;
use super::observe::{cloud_problem, whole};
use crate::cloud::{
    Cloud, CloudError, FleetRequest, ImageSource, Kind, LaunchRefusal, LaunchTemplate, Launched, Lifecycle, Seat,
    kind_of,
};
use crate::diagnostic::{Diagnostic, Diagnostics};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long an intent's client token is trusted to return what it launched.
const TOKEN_LIFE: Duration = Duration::from_secs(12 * 3600);

/// How long instances of a request without an answer may stay invisible.
const VISIBLE_AFTER: Duration = Duration::from_secs(120);

/// Limit of requests in one launch; each but the last refuses at least one of at most twice sixty offerings.
const REQUESTS: u32 = 130;

/// State between two launches of a run.
#[derive(Default)]
pub(super) struct Launching {
    templates: Vec<LaunchTemplate>,
    listed: bool,
    refused: BTreeSet<(Seat, Lifecycle)>,
    last: Option<(u32, u32)>,
    /// The intent whose result is unknown.
    pub(super) open: Option<Intent>,
}

impl Runner<'_> {
    /// Lists the pool's templates, once per run.
    async fn templates(&mut self) -> Result<(), Diagnostics> {
        if !self.launching.listed {
            let what = format!("launch templates of pool {}", self.plan.id);
            self.launching.templates = whole(&what, self.cloud.templates(&self.plan.id.filters()).await)?;
            self.launching.listed = true;
        }
        Ok(())
    }

    fn own_template(&self) -> Option<&LaunchTemplate> {
        let name = template_name(&self.plan.id, &self.plan.spec_hash);
        self.launching.templates.iter().find(|t| t.name == name)
    }

    /// Repeats the last request of a dead process if nothing of it is visible: its token returns what it launched.
    pub(super) async fn resume(&mut self) -> Result<(), Diagnostics> {
        self.templates().await?;
        let now = self.ports.clock.now();
        let newest = self
            .launching
            .templates
            .iter()
            .filter_map(|t| Intent::of(t).map(|i| (t.clone(), i)))
            .max_by_key(|(_, i)| (i.slot, i.attempt));
        let Some((template, intent)) = newest else {
            return Ok(());
        };
        if self.view.seen_of(intent.slot, intent.attempt) >= intent.count as usize || since(intent.at, now) > TOKEN_LIFE
        {
            return Ok(());
        }
        if self.own_template().is_some_and(|own| own.id == template.id) {
            let text = format!("asking again for launch {}, of which nothing is listed", intent.slot);
            self.run.tell(&[], text);
            let answer = self.request(&template, &intent).await;
            match answer {
                Ok(launched) => self.take(&intent, launched),
                Err(e) if matches!(e.kind, Kind::TokenSpent | Kind::TokenMismatch | Kind::Capacity) => {}
                Err(e) => return Err(self.launch_problem(&e).into()),
            }
            return Ok(());
        }
        // The specification differs, so the request cannot be repeated. What it launched becomes visible in time.
        while since(intent.at, self.ports.clock.now()) < VISIBLE_AFTER
            && self.view.seen_of(intent.slot, intent.attempt) == 0
            && !self.run.cancel.is_cancelled()
        {
            self.wait(Duration::from_secs(20)).await;
            self.look().await?;
        }
        Ok(())
    }

    /// Launches this many nodes, or as many as there is capacity for. False if not all were launched.
    pub(super) async fn launch(&mut self, lifecycle: Lifecycle, count: u32) -> Result<bool, Diagnostics> {
        self.templates().await?;
        let begun = self.ports.clock.now();
        let (mut slot, mut attempt, mut left) = (self.next_slot(), 0, count);
        for _ in 0..REQUESTS {
            let now = self.ports.clock.now();
            let seats = self.seats(lifecycle);
            if seats.is_empty() || since(begun, now) >= self.plan.pool.launch_timeout || self.run.cancel.is_cancelled()
            {
                return Ok(false);
            }
            let intent = Intent {
                slot,
                attempt,
                at: now,
                lifecycle,
                count: left,
                target: self.plan.desired,
                seats,
            };
            let template = self.write(&intent).await?;
            self.launching.last = Some((slot, attempt));
            self.launching.open = Some(intent.clone());
            let answer = self.request(&template, &intent).await;
            match answer {
                Ok(launched) => {
                    left = left.saturating_sub(u32::try_from(launched.ids.len()).unwrap_or(left));
                    let fatal = fatal(&launched);
                    self.refuse(&intent, &launched);
                    self.take(&intent, launched);
                    if let Some(refusal) = fatal.filter(|_| left > 0) {
                        return Err(self.refused_for_good(&refusal).into());
                    }
                }
                Err(e) if e.kind == Kind::Capacity => self.refuse(&intent, &whole_refused(&intent, &e)),
                // The token belongs to instances that have ended: start another launch.
                Err(e) if matches!(e.kind, Kind::TokenSpent | Kind::TokenMismatch) => slot += 1,
                Err(e) => return Err(self.launch_problem(&e).into()),
            }
            self.launching.open = None;
            if left == 0 {
                return Ok(true);
            }
            attempt += 1;
        }
        Ok(false)
    }

    fn next_slot(&self) -> u32 {
        let listed = self.view.launches.keys().map(|(slot, _)| *slot).max();
        let written = self.launching.templates.iter().filter_map(intent::last_slot).max();
        let own = self.launching.last.map(|(slot, _)| slot);
        listed.max(written).max(own).map_or(0, |n| n + 1)
    }

    /// Every type in every subnet, the preferred type first, without what is refused or cooling.
    fn seats(&self, lifecycle: Lifecycle) -> Vec<Seat> {
        let now = self.ports.clock.now();
        let pool = &self.plan.pool;
        let all = pool.instance_types.iter().flat_map(|t| {
            pool.subnets.iter().map(move |s| Seat {
                instance_type: t.clone(),
                subnet: s.clone(),
            })
        });
        all.filter(|s| !self.launching.refused.contains(&(s.clone(), lifecycle)))
            .filter(|s| !self.run.cooling.is_cool(s, lifecycle, now))
            .take(SEATS)
            .collect()
    }

    /// Writes the intent into the template's tags before its request; creates the template first if there is none.
    async fn write(&mut self, intent: &Intent) -> Result<LaunchTemplate, Diagnostics> {
        let Some(mut tags) = intent.tags() else {
            return Err(
                Diagnostic::error(format!("pool {} has too many or too long instance types", self.plan.id))
                    .detail("shorten instanceTypes")
                    .attribute(["spec", "instanceTypes"])
                    .into(),
            );
        };
        tags.extend(self.run.owner.as_ref().map(super::owner::tag));
        if let Some(found) = self.own_template().cloned() {
            self.cloud
                .create_tags(std::slice::from_ref(&found.id), &tags)
                .await
                .map_err(|e| cloud_problem(format!("launch template {} cannot be tagged", found.name), &e))?;
            return Ok(found);
        }
        let image = match self.plan.observed.resolved.clone().filter(|r| r.id == self.plan.image) {
            Some(image) => image,
            None => self
                .cloud
                .image(&ImageSource::Id(self.plan.image.clone()))
                .await
                .map_err(|e| cloud_problem(format!("image {} cannot be described", self.plan.image), &e))?,
        };
        let name = template_name(&self.plan.id, &self.plan.spec_hash);
        let body = template_body(&self.plan.pool, &image, &self.plan.spec_hash);
        let mut all = self.plan.id.tags();
        all.insert(TAG_HASH.into(), self.plan.spec_hash.clone());
        all.insert(TAG_HASH_VERSION.into(), HASH_VERSION.into());
        all.extend(tags.clone());
        // The name makes this happen once: a token would return a template that was deleted since.
        let token = super::identity::client_token(&self.plan.id, 0, 0, &format!("{name} {}", self.ports.clock.now()));
        self.run.tell(&[], format!("making launch template {name}"));
        match self.cloud.create_template(&name, &body, &all, &token).await {
            Ok(template) => {
                self.launching.templates.push(template.clone());
                Ok(template)
            }
            Err(e) if e.code.contains("AlreadyExists") => self.await_template(&name, &tags).await,
            Err(e) => Err(cloud_problem(format!("launch template {name} cannot be made"), &e).into()),
        }
    }

    /// Waits for a template that exists but is not listed yet.
    async fn await_template(&mut self, name: &str, tags: &crate::cloud::Tags) -> Result<LaunchTemplate, Diagnostics> {
        for _ in 0..12 {
            self.launching.listed = false;
            self.templates().await?;
            if let Some(found) = self.own_template().cloned() {
                if let Some(intent) = Intent::of(&found) {
                    // It holds another process's intent, which must not be overwritten before its nodes are known.
                    self.launching.open = Some(intent);
                    return Err(
                        Diagnostic::error(format!("another run launches nodes of pool {}", self.plan.id))
                            .detail("it, or its death, left a launch template that was not listed before; try again")
                            .into(),
                    );
                }
                self.cloud
                    .create_tags(std::slice::from_ref(&found.id), tags)
                    .await
                    .map_err(|e| cloud_problem(format!("launch template {name} cannot be tagged"), &e))?;
                return Ok(found);
            }
            self.wait(Duration::from_secs(10)).await;
        }
        Err(
            Diagnostic::error(format!("launch template {name} exists and is not the pool's"))
                .detail("it lacks the pool's tags; delete it and try again")
                .into(),
        )
    }

    async fn request(&self, template: &LaunchTemplate, intent: &Intent) -> Result<Launched, CloudError> {
        let request = FleetRequest {
            token: intent.token(&self.plan.id, &template.id),
            template: template.id.clone(),
            version: template.latest_version,
            lifecycle: intent.lifecycle,
            count: intent.count,
            seats: intent.seats.clone(),
            tags: launch_tags(&self.plan.pool, &self.plan.spec_hash, intent.slot, intent.attempt),
            fleet_tags: self.plan.id.tags(),
        };
        let mut wait = 0;
        loop {
            match self.cloud.create_fleet(&request).await {
                // A new template may not be visible to this request yet.
                Err(e) if e.kind == Kind::NotFound && wait < 5 && !self.run.cancel.is_cancelled() => {
                    wait += 1;
                    self.ports.clock.sleep(Duration::from_secs(wait)).await;
                }
                answer => return answer,
            }
        }
    }

    fn take(&mut self, intent: &Intent, launched: Launched) {
        if launched.ids.is_empty() {
            return;
        }
        let text = format!("launched {} {} nodes", launched.ids.len(), intent.lifecycle.word());
        self.run.tell(&launched.ids, text);
        self.view
            .launched(&launched.ids, intent.lifecycle, self.ports.clock.now());
        self.outcome.launched.extend(launched.ids);
    }

    /// Cools what was refused; the whole request if the cloud came short and names nothing.
    fn refuse(&mut self, intent: &Intent, launched: &Launched) {
        let now = self.ports.clock.now();
        let short = launched.ids.len() < intent.count as usize;
        let mut hit = false;
        for seat in &intent.seats {
            let by = |r: &&LaunchRefusal| {
                r.instance_type == seat.instance_type && (r.subnet.is_empty() || r.subnet == seat.subnet)
            };
            if short && launched.refusals.iter().any(|r| by(&r)) {
                hit = true;
                self.launching.refused.insert((seat.clone(), intent.lifecycle));
                self.run.cooling.refuse(seat, intent.lifecycle, now);
            }
        }
        if short && !hit {
            for seat in &intent.seats {
                self.launching.refused.insert((seat.clone(), intent.lifecycle));
                self.run.cooling.refuse(seat, intent.lifecycle, now);
            }
        }
        for refusal in &launched.refusals {
            let known = |r: &LaunchRefusal| {
                (&r.instance_type, &r.subnet, r.lifecycle, &r.code)
                    == (
                        &refusal.instance_type,
                        &refusal.subnet,
                        refusal.lifecycle,
                        &refusal.code,
                    )
            };
            if !self.outcome.refusals.iter().any(known) {
                self.outcome.refusals.push(refusal.clone());
            }
        }
    }

    fn launch_problem(&self, error: &CloudError) -> Diagnostic {
        cloud_problem(format!("nodes of pool {} cannot be launched", self.plan.id), error)
    }

    fn refused_for_good(&self, refusal: &LaunchRefusal) -> Diagnostic {
        Diagnostic::error(format!("nodes of pool {} cannot be launched", self.plan.id)).detail(format!(
            "{} {}: {}: {}; no other offering will do better",
            refusal.instance_type,
            refusal.lifecycle.word(),
            refusal.code,
            refusal.message
        ))
    }

    /// Writes the number of nodes into the template, closes its intent, and deletes templates without nodes. Best
    /// effort: the next run does what this one could not.
    pub(super) async fn settle(&mut self) {
        let count = self.view.nodes.len() + self.view.coming.len();
        let hashes: BTreeSet<String> = self.view.nodes.values().filter_map(|n| n.spec_hash.clone()).collect();
        let unknown = self.launching.open.is_some();
        if !self.launching.listed {
            self.launching.templates = self.plan.observed.templates.clone().unwrap_or_default();
        }
        let Some(own) = self.own_template().cloned() else {
            return;
        };
        let differs = intent::target(&own) != u32::try_from(count).ok();
        if !unknown && (differs || self.launching.last.is_some()) {
            let at = self
                .launching
                .last
                .or_else(|| intent::last_slot(&own).map(|s| (s, 0)))
                .unwrap_or((0, 0));
            let tags = intent::closed(at.0, at.1, count);
            if let Err(e) = self.cloud.create_tags(std::slice::from_ref(&own.id), &tags).await {
                tracing::warn!(error = %e, "the pool's size cannot be noted");
            }
        }
        let old: Vec<LaunchTemplate> = self
            .launching
            .templates
            .iter()
            .filter(|t| t.id != own.id && t.tags.get(TAG_HASH).is_none_or(|h| !hashes.contains(h)))
            .cloned()
            .collect();
        for template in old {
            if let Err(e) = self.cloud.delete_template(&template.id).await
                && e.kind != Kind::NotFound
            {
                tracing::warn!(error = %e, template = template.name, "an old launch template stays");
            }
        }
    }
}

/// A refusal that no other offering can avoid.
fn fatal(launched: &Launched) -> Option<LaunchRefusal> {
    let fatal = |r: &&LaunchRefusal| matches!(kind_of(&r.code), Kind::Denied | Kind::Invalid);
    launched
        .refusals
        .iter()
        .find(fatal)
        .filter(|_| launched.ids.is_empty())
        .cloned()
}

/// The whole request was refused: each of its offerings.
fn whole_refused(intent: &Intent, error: &CloudError) -> Launched {
    let one = |seat: &Seat| LaunchRefusal {
        instance_type: seat.instance_type.clone(),
        subnet: seat.subnet.clone(),
        zone: String::new(),
        lifecycle: intent.lifecycle,
        code: error.code.clone(),
        message: error.message.clone(),
    };
    Launched {
        ids: Vec::new(),
        refusals: intent.seats.iter().map(one).collect(),
    }
}
