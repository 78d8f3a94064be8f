//! The executor's part in minting: it writes the record, so the pending marker and the result pass through it.

use super::{Consequence, Done, Executor, Status};
use crate::apply::mint::{Failure, Judged, Mint, bindings, release};
use crate::apply::order::Condition;
use crate::apply::outcome::{Fate, Progress};
use crate::desired::WantedToken;
use crate::diagnostic::Diagnostic;
use crate::document::{Issuer, PodChoice, ProvisioningToken};
use crate::mask::hex;
use crate::object::ObjectKey;
use crate::observe::told;
use crate::plan::{Action, interrupted};
use crate::token::{Entry, Revoke, State, Stored, Why};
use std::sync::Arc;
use tracing::Instrument as _;

/// Limit of orphans that a record names.
const ORPHANS: usize = 10;

/// How to revoke a value that an earlier run minted, if the document names the pod.
fn revoke_by_name(token: &ProvisioningToken) -> Option<Revoke> {
    let Issuer::Exec(exec) = &token.issuer else { return None };
    let PodChoice::Named(pod) = &exec.pod else { return None };
    Some(Revoke {
        namespace: exec.namespace.clone(),
        pod: pod.clone(),
        container: exec.container.clone(),
        command: token.revoke.clone()?,
    })
}

impl Executor<'_> {
    fn mint(&self, wanted: &WantedToken) -> Mint {
        Mint {
            cluster: Arc::clone(&self.cluster),
            stack: self.plan.desired.stack.clone(),
            wanted: wanted.clone(),
            entry: self.ledger.record.tokens.get(&wanted.token.name).cloned(),
            key: self.ledger.key().clone(),
            deadline: self.deadline_of(wanted.component.as_deref()),
            cancel: self.run.cancel.clone(),
        }
    }

    /// Starts a token: its state is read once more before anything is minted.
    pub(super) fn start_token(&mut self, wanted: &WantedToken) -> Vec<Consequence> {
        let unchanged = self
            .plan
            .change(&wanted.key)
            .is_none_or(|c| c.action == Action::Unchanged);
        if unchanged {
            return self.token_is_there(&wanted.key);
        }
        self.status.insert(wanted.key.clone(), Status::Applying);
        let (mint, key) = (self.mint(wanted), wanted.key.clone());
        let handle = self
            .tasks
            .spawn(async move { Done::Judged(key, Box::new(mint.judge().await)) });
        self.running.insert(handle.id(), wanted.key.clone());
        Vec::new()
    }

    /// What to do about a token is decided. The pending marker is written into the record before the issuer is asked.
    pub(super) async fn judged(&mut self, key: &ObjectKey, judged: Judged) -> Vec<Consequence> {
        let Some(wanted) = self.plan.desired.token(key) else {
            return Vec::new();
        };
        let why = match judged {
            Judged::There(stored) => {
                self.ledger.token(&wanted.token, |entry| {
                    // Adopted or unchanged: the counters stay. Finished: the run whose mint it is died before it could
                    // count.
                    if matches!(&entry.state, State::Pending { mint, .. } if *mint == stored.mint) {
                        entry.mints += 1;
                    }
                    entry.state = State::Stored(stored);
                    entry.revoke = entry.revoke.take().or_else(|| revoke_by_name(&wanted.token));
                });
                self.write().await;
                return self.token_is_there(key);
            }
            Judged::Failed(why) => return self.token_failed(key, why),
            Judged::Mint(why) => why,
        };
        if let Some(warning) = interrupted(wanted, &why) {
            // The plan may have been made while that mint was assumed to be alive; then this is the first report of it.
            tracing::warn!(object = %key, "{}", warning.summary);
            if !self.plan.diagnostics.iter().any(|told| *told == warning) {
                self.outcome.tell(warning);
            }
        }
        let mint = self.mint(wanted);
        let id = hex(&rand::random::<[u8; 8]>());
        let until = mint.alive_until();
        self.ledger.token(&wanted.token, |entry| {
            if let Why::Interrupted(orphan) = &why {
                entry.orphans.push(orphan.clone());
                let extra = entry.orphans.len().saturating_sub(ORPHANS);
                entry.orphans.drain(..extra);
            }
            let before = match &entry.state {
                State::Stored(stored) => Some(stored.clone()),
                State::Pending { before, .. } => before.clone(),
            };
            entry.state = State::Pending {
                mint: id.clone(),
                until,
                before,
            };
        });
        self.write().await;
        if self.stopped || self.ledger.is_dirty() {
            return self.token_failed(
                key,
                "its pending marker could not be written, so nothing was minted".into(),
            );
        }
        let id_of = key.clone();
        let handle = self
            .tasks
            .spawn(async move { Done::Minted(id_of, Box::new(mint.run(id, why, until).await)) }.in_current_span());
        self.running.insert(handle.id(), key.clone());
        Vec::new()
    }

    /// A mint ended.
    pub(super) async fn minted(
        &mut self,
        key: &ObjectKey,
        result: Result<(Stored, Option<Revoke>), Failure>,
    ) -> Vec<Consequence> {
        let Some(wanted) = self.plan.desired.token(key) else {
            return Vec::new();
        };
        match result {
            Ok((stored, revoke)) => {
                self.ledger.token(&wanted.token, |entry| {
                    entry.state = State::Stored(stored);
                    entry.mints += 1;
                    entry.revoke = revoke;
                });
                self.write().await;
                (self.run.progress)(Progress::Applied(key.clone()));
                self.token_is_there(key)
            }
            Err(Failure { why, uncertain }) => {
                self.ledger.token(&wanted.token, |entry| {
                    if let State::Pending { mint, until, before } = &mut entry.state {
                        match before.take() {
                            // Nothing was created: the record returns to what is true.
                            Some(stored) if !uncertain => entry.state = State::Stored(stored),
                            kept => {
                                *until = 0;
                                let orphan = mint.clone();
                                entry.state = State::Pending {
                                    mint: orphan,
                                    until: 0,
                                    before: kept,
                                };
                            }
                        }
                    }
                });
                let name = &wanted.token.name;
                if !uncertain {
                    self.ledger.forget_unminted(name);
                }
                self.write().await;
                self.token_failed(key, why)
            }
        }
    }

    fn token_is_there(&mut self, key: &ObjectKey) -> Vec<Consequence> {
        self.status.insert(key.clone(), Status::Ready);
        let mut consequences = self.order.met(&Condition::Applied(key.clone()));
        consequences.extend(self.order.met(&Condition::Tried(key.clone())));
        consequences.extend(self.order.met(&Condition::Ready(key.clone())));
        consequences
    }

    fn token_failed(&mut self, key: &ObjectKey, why: String) -> Vec<Consequence> {
        self.end(key, Fate::Failed(why));
        self.order.failed(key, false)
    }

    /// Once everything is ready, ties tokens to the objects that exist by now, and gives up those that are no longer
    /// wanted.
    pub(in crate::apply) async fn close_tokens(&mut self) {
        if self.plan.desired.going_back {
            return;
        }
        for wanted in &self.plan.desired.tokens {
            let tied = bindings(&self.mint(wanted)).await;
            let known = match self.ledger.record.tokens.get(&wanted.token.name).map(|e| &e.state) {
                Some(State::Stored(stored)) => stored.tied_to.clone(),
                _ => continue,
            };
            if tied.keys().any(|object| !known.contains_key(object)) {
                self.ledger.token(&wanted.token, |entry| {
                    if let State::Stored(stored) = &mut entry.state {
                        for (object, uid) in tied {
                            stored.tied_to.entry(object).or_insert(uid);
                        }
                    }
                });
            }
        }
        let unwanted: Vec<(String, Entry)> = self
            .ledger
            .record
            .tokens
            .iter()
            .filter(|(name, _)| self.plan.desired.tokens.iter().all(|t| t.token.name != **name))
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect();
        for (name, entry) in unwanted {
            let key = crate::desired::token_key(&self.plan.desired.stack.namespace, &name);
            let prune = self.plan.change(&key).is_some_and(|c| c.action == Action::Prune);
            let released = if prune {
                release(
                    &*self.cluster,
                    &self.plan.desired.stack,
                    &name,
                    &entry,
                    &self.run.cancel,
                )
                .await
            } else {
                Ok(())
            };
            let fate = match released {
                Ok(()) => {
                    self.ledger.forget_token(&name);
                    if prune {
                        Fate::Gone
                    } else {
                        Fate::Kept("prune is off".into())
                    }
                }
                Err(e) => {
                    let problem: Diagnostic = told(&e, &format!("token {name} could not be given up"));
                    self.outcome.tell(problem.object(key.clone()));
                    Fate::Failed(e.to_string())
                }
            };
            self.outcome.objects.insert(key, fate);
        }
    }
}
