//! The account under which stacks and tokens are read and changed: the source's account, or one that a document names
//! and the configuration allows.
//!
//! A repository is not trusted: a document can only choose among what the configuration offers, and nothing falls back
//! to other rights.
//!
//! Myelin's own account is used for what all stacks of a source share: the lists of records, namespaces and objects
//! that carry a stack's label, and the drift watches; a stack sees of these only what carries its own label. The
//! stack's account is used for every other read, every dry run, the watches of its gates, every change and every
//! command in a pod.

use crate::deployment::WantedCommit;
use myelin_engine::apply::{Gates, Run};
use myelin_engine::cluster::Cluster;
use myelin_engine::cluster::connect::ServiceAccount;
use myelin_engine::diagnostic::{Diagnostic, Diagnostics};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Clients, each with the rights of somebody.
#[derive(Clone)]
pub(crate) enum Identities {
    /// A user at a terminal: everything is done with that user's rights.
    Person(Arc<dyn Cluster>),
    /// A source.
    Source {
        /// For stacks and tokens that name no account, and for pools.
        usual: Arc<dyn Cluster>,
        /// The accounts that its stacks and tokens may name.
        allowed: BTreeMap<ServiceAccount, Arc<dyn Cluster>>,
    },
}

impl Identities {
    /// Who acts for what names no account.
    pub(crate) fn usual(&self) -> &Arc<dyn Cluster> {
        match self {
            Self::Person(usual) | Self::Source { usual, .. } => usual,
        }
    }

    /// The identity that acts for a stack.
    ///
    /// # Errors
    /// When the configuration does not allow the account.
    pub(crate) fn of(&self, account: Option<&ServiceAccount>) -> Result<&Arc<dyn Cluster>, String> {
        match (self, account) {
            (Self::Person(usual), _) | (Self::Source { usual, .. }, None) => Ok(usual),
            (Self::Source { allowed, .. }, Some(account)) => allowed
                .get(account)
                .ok_or_else(|| format!("the source's configuration does not allow serviceAccount {account}")),
        }
    }

    /// Whether a stack that names an account fails alone: missing rights of one account hold up no other stack.
    pub(crate) fn stands_alone(&self, account: Option<&ServiceAccount>) -> bool {
        matches!(self, Self::Source { .. }) && account.is_some()
    }

    /// What a commit may not name.
    ///
    /// # Errors
    /// Every stack with an account that is not allowed.
    pub(crate) fn check(&self, commit: &WantedCommit) -> Result<(), Diagnostics> {
        let mut problems = Diagnostics::new();
        for stack in &commit.stacks {
            if let Err(why) = self.of(stack.account.as_ref()) {
                problems.push(
                    Diagnostic::error(format!("{} cannot act as it says: {why}", stack.id.title()))
                        .detail("whoever runs the reconciler names it under serviceAccounts of the source in myelin.yaml, or the stack names another")
                        .at(stack.place.clone()),
                );
            }
        }
        problems.or(()).map(|((), _)| ())
    }
}

/// The acting identities, each with its own watches for the gates of its stacks: what one stack has seen, no other
/// stack of the same identity requests again.
pub(crate) struct Actors<'a> {
    acting: &'a Identities,
    run: &'a Run,
    runs: Mutex<BTreeMap<Option<ServiceAccount>, Run>>,
}

impl<'a> Actors<'a> {
    /// For one run; existing watches are kept for the usual identity.
    pub(crate) fn new(acting: &'a Identities, run: &'a Run) -> Self {
        Self {
            acting,
            run,
            runs: Mutex::default(),
        }
    }

    /// The identity that acts for a stack, and its run.
    ///
    /// # Errors
    /// As [`Identities::of`].
    pub(crate) fn of(&self, account: Option<&ServiceAccount>) -> Result<(Arc<dyn Cluster>, Run), String> {
        let cluster = self.acting.of(account)?;
        let account = account.filter(|_| self.acting.stands_alone(account));
        // Existing watches are those of the usual identity.
        let known = self.run.gates.clone().filter(|_| account.is_none());
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let run = runs.entry(account.cloned()).or_insert_with(|| {
            let run = self.run;
            let new = || {
                let gates = Gates::new(Arc::clone(cluster), run.settings, run.patience, Arc::new(|_, _| {}));
                Arc::new(gates)
            };
            Run {
                gates: Some(known.unwrap_or_else(new)),
                ..run.clone()
            }
        });
        Ok((Arc::clone(cluster), run.clone()))
    }
}
