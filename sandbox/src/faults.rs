//! Faults on demand, and the request log from which tests know when to strike.
//!
//! A rule says which requests it meets (verb, resource, name, user agent, the how-manieth) and what happens to them: an
//! error, a cut connection before or after the effect, a delay, a hang at the boundary, a dropped watch. Rules are added by
//! library calls or over `/sandbox/faults`. Everything random comes from one seed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::kubernetes::registry::Failure;

/// How many requests the log remembers.
const LOG: usize = 50_000;

/// Which requests a rule meets, and what it does to them. Empty conditions meet everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    /// The rule's name; one is made up if it is empty.
    pub id: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verbs: Vec<String>,
    /// `plural.group`, such as `deployments.apps`.
    pub resources: Vec<String>,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// What the user agent contains.
    pub user_agent: String,
    /// What the path and query contain.
    pub path: String,
    /// Leave the first so many matching requests alone.
    pub skip: u64,
    /// Meet at most so many after that; 0 for no end.
    pub times: u64,
    /// Meet a matching request with this probability; 0 means always.
    pub probability: f64,
    /// What happens.
    pub effect: Effect,
}

/// What a rule does to a request.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", tag = "type", deny_unknown_fields)]
pub enum Effect {
    /// Nothing: count only.
    #[default]
    None,
    /// Answer with an error and do nothing.
    #[serde(rename_all = "camelCase")]
    Status {
        /// The HTTP status: 429, 500, 503, 410, …
        code: u16,
        /// Seconds for `Retry-After`.
        #[serde(default)]
        retry_after: Option<u32>,
        /// What to say.
        #[serde(default)]
        message: String,
    },
    /// Cut the connection before anything is done.
    ResetBefore,
    /// Execute the request and cut the connection instead of answering.
    ResetAfter,
    /// Execute the request and answer with an error all the same.
    StatusAfter {
        /// The HTTP status.
        code: u16,
    },
    /// Wait first (real time).
    Latency {
        /// Milliseconds.
        millis: u64,
    },
    /// Hold the request before anything is done, until the rule is removed.
    HangBefore,
    /// Execute the request and hold the answer until the rule is removed.
    HangAfter,
    /// End a watch after a while (real time).
    WatchDrop {
        /// Milliseconds.
        millis: u64,
    },
}

/// One request as the log keeps it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Logged {
    /// 1, 2, 3, … in the order of arrival.
    pub sequence: u64,
    /// HTTP method.
    pub method: String,
    /// The verb as authorization names it.
    pub verb: &'static str,
    /// Path.
    pub path: String,
    /// Query.
    pub query: String,
    /// Who asks.
    pub user_agent: String,
    /// The answer's status; 0 while there is none.
    pub status: u16,
    /// Rules that met it.
    pub rules: Vec<String>,
}

/// A request as rules see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) verb: &'static str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) agent: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// What to do with a request.
pub(crate) enum Verdict {
    Go,
    Answer(Failure),
    Cut,
}

/// All rules and the request log.
#[derive(Debug)]
pub struct Faults {
    state: Mutex<State>,
    sequence: AtomicU64,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    rules: Vec<Active>,
    log: VecDeque<Logged>,
    random: StdRng,
    made_up: u64,
}

#[derive(Debug)]
struct Active {
    rule: Rule,
    seen: u64,
    met: u64,
}

/// A rule and what it has done so far.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// Matching requests so far.
    pub seen: u64,
    /// Requests that the rule has met.
    pub met: u64,
}

impl Faults {
    /// No rules, and a seed for those to come.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rules: Vec::new(),
            log: VecDeque::new(),
            random: StdRng::seed_from_u64(seed),
            made_up: 0,
        };
        Self {
            state: Mutex::new(state),
            sequence: AtomicU64::new(0),
            changed: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Add a rule, instead of one with the same name; returns its name.
    pub fn add(&self, mut rule: Rule) -> String {
        let mut state = self.state();
        if rule.id.is_empty() {
            state.made_up += 1;
            rule.id = format!("rule-{}", state.made_up);
        }
        let id = rule.id.clone();
        state.rules.retain(|active| active.rule.id != id);
        state.rules.push(Active { rule, seen: 0, met: 0 });
        drop(state);
        self.changed.send_modify(|n| *n += 1);
        id
    }

    /// Remove a rule; requests that it holds continue. Returns whether there was one.
    pub fn remove(&self, id: &str) -> bool {
        let mut state = self.state();
        let before = state.rules.len();
        state.rules.retain(|active| active.rule.id != id);
        let removed = state.rules.len() < before;
        drop(state);
        self.changed.send_modify(|n| *n += 1);
        removed
    }

    /// Remove all rules.
    pub fn clear(&self) {
        self.state().rules.clear();
        self.changed.send_modify(|n| *n += 1);
    }

    /// All rules and what they have done.
    pub fn rules(&self) -> Vec<Report> {
        let state = self.state();
        state
            .rules
            .iter()
            .map(|a| Report {
                rule: a.rule.clone(),
                seen: a.seen,
                met: a.met,
            })
            .collect()
    }

    /// Wait until a rule has met `count` requests; `false` if it is gone.
    pub async fn met(&self, id: &str, count: u64) -> bool {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            match self.state().rules.iter().find(|active| active.rule.id == id) {
                None => return false,
                Some(active) if active.met >= count => return true,
                Some(_) => {}
            }
            if changed.changed().await.is_err() {
                return false;
            }
        }
    }

    /// How many requests there have been.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::SeqCst)
    }

    /// The requests after a sequence number, oldest first.
    pub fn log(&self, after: u64) -> Vec<Logged> {
        self.state()
            .log
            .iter()
            .filter(|entry| entry.sequence > after)
            .cloned()
            .collect()
    }

    /// Note a request and find out what is to happen to it.
    pub(crate) fn ask(self: &Arc<Self>, asked: &Asked<'_>) -> Ticket {
        let mut state = self.state();
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        let State { rules, random, .. } = &mut *state;
        let mut effects = Vec::new();
        for active in rules {
            if !fits(&active.rule, asked) {
                continue;
            }
            active.seen += 1;
            let rule = &active.rule;
            let spent = rule.times > 0 && active.met >= rule.times;
            let spared = rule.probability > 0.0 && !random.random_bool(rule.probability.clamp(0.0, 1.0));
            if active.seen > rule.skip && !spent && !spared {
                active.met += 1;
                effects.push((rule.id.clone(), rule.effect.clone()));
            }
        }
        let entry = Logged {
            sequence,
            method: asked.method.to_owned(),
            verb: asked.verb,
            path: asked.path.to_owned(),
            query: asked.query.to_owned(),
            user_agent: asked.agent.to_owned(),
            status: 0,
            rules: effects.iter().map(|(id, _)| id.clone()).collect(),
        };
        state.log.push_back(entry);
        if state.log.len() > LOG {
            state.log.pop_front();
        }
        drop(state);
        if !effects.is_empty() {
            self.changed.send_modify(|n| *n += 1);
        }
        Ticket {
            faults: self.clone(),
            sequence,
            effects,
        }
    }

    async fn until_removed(&self, id: &str) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if !self.state().rules.iter().any(|active| active.rule.id == id) {
                return;
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}

fn fits(rule: &Rule, asked: &Asked<'_>) -> bool {
    let among = |list: &[String], value: &str| list.is_empty() || list.iter().any(|v| v == value);
    among(&rule.verbs, asked.verb)
        && among(&rule.resources, asked.resource)
        && (rule.namespace.is_empty() || rule.namespace == asked.namespace)
        && (rule.name.is_empty() || rule.name == asked.name)
        && (rule.user_agent.is_empty() || asked.agent.contains(&rule.user_agent))
        && (rule.path.is_empty() || format!("{}?{}", asked.path, asked.query).contains(&rule.path))
}

/// What is to happen to one request.
pub(crate) struct Ticket {
    faults: Arc<Faults>,
    sequence: u64,
    effects: Vec<(String, Effect)>,
}

impl Ticket {
    /// Before anything is done.
    pub(crate) async fn before(&self) -> Verdict {
        for (id, effect) in &self.effects {
            match effect {
                Effect::Latency { millis } => tokio::time::sleep(Duration::from_millis((*millis).min(600_000))).await,
                Effect::HangBefore => self.faults.until_removed(id).await,
                Effect::ResetBefore => return Verdict::Cut,
                Effect::Status {
                    code,
                    retry_after,
                    message,
                } => {
                    return Verdict::Answer(answer(*code, *retry_after, message));
                }
                _ => {}
            }
        }
        Verdict::Go
    }

    /// After it is done, before it is answered.
    pub(crate) async fn after(&self) -> Verdict {
        for (id, effect) in &self.effects {
            match effect {
                Effect::HangAfter => self.faults.until_removed(id).await,
                Effect::ResetAfter => return Verdict::Cut,
                Effect::StatusAfter { code } => return Verdict::Answer(answer(*code, None, "")),
                _ => {}
            }
        }
        Verdict::Go
    }

    /// How long a watch may live.
    pub(crate) fn drops_watch(&self) -> Option<Duration> {
        self.effects.iter().find_map(|(_, effect)| match effect {
            Effect::WatchDrop { millis } => Some(Duration::from_millis(*millis)),
            _ => None,
        })
    }

    /// Note the answer.
    pub(crate) fn done(&self, status: u16) {
        let mut state = self.faults.state();
        let first = state.log.front().map_or(0, |entry| entry.sequence);
        let at = usize::try_from(self.sequence.saturating_sub(first)).unwrap_or(usize::MAX);
        if let Some(entry) = state.log.get_mut(at) {
            entry.status = status;
        }
    }
}

fn answer(code: u16, retry_after: Option<u32>, message: &str) -> Failure {
    let (reason, words) = match code {
        410 => ("Expired", "The resourceVersion is too old"),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        ),
        500 => ("InternalError", "Internal error occurred: injected by a fault rule"),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        504 => ("Timeout", "the request timed out"),
        _ => ("", "injected by a fault rule"),
    };
    let words = if message.is_empty() { words } else { message };
    match (code, retry_after) {
        (429, after) => Failure::too_many_requests(words, after.unwrap_or(1)),
        (_, Some(after)) => {
            let mut failure = Failure::too_many_requests(words, after);
            failure.code = code;
            failure.reason = reason;
            failure
        }
        (_, None) => Failure::new(code, reason, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> = Asked {
        method: "PATCH",
        verb: "patch",
        path: "/api/v1/namespaces/a/configmaps/b",
        query: "fieldManager=x",
        agent: "test/1",
        resource: "configmaps",
        namespace: "a",
        name: "b",
    };

    #[tokio::test]
    async fn a_rule_meets_the_requests_that_it_names_and_no_others() {
        let faults = Arc::new(Faults::new(1));
        let effect = Effect::Status {
            code: 429,
            retry_after: Some(3),
            message: String::new(),
        };
        faults.add(Rule {
            verbs: vec!["patch".to_owned()],
            skip: 1,
            times: 1,
            effect,
            ..Rule::default()
        });
        assert!(matches!(faults.ask(&ASKED).before().await, Verdict::Go));
        let Verdict::Answer(failure) = faults.ask(&ASKED).before().await else {
            panic!("the second is refused")
        };
        assert_eq!((failure.code, failure.retry_after()), (429, Some(3)));
        assert!(matches!(faults.ask(&ASKED).before().await, Verdict::Go));
        assert_eq!(faults.log(0).len(), 3);
        assert_eq!(faults.log(1)[0].rules, ["rule-1"]);
    }

    #[tokio::test]
    async fn a_held_request_goes_on_when_its_rule_is_removed() {
        let faults = Arc::new(Faults::new(1));
        let id = faults.add(Rule {
            effect: Effect::HangBefore,
            ..Rule::default()
        });
        let ticket = faults.ask(&ASKED);
        let held = tokio::spawn(async move { matches!(ticket.before().await, Verdict::Go) });
        assert!(faults.met(&id, 1).await);
        faults.remove(&id);
        assert!(
            tokio::time::timeout(Duration::from_secs(5), held)
                .await
                .unwrap()
                .unwrap()
        );
    }

    #[tokio::test]
    async fn the_same_seed_meets_the_same_requests() {
        let run = || async {
            let faults = Arc::new(Faults::new(7));
            let effect = Effect::ResetBefore;
            faults.add(Rule {
                probability: 0.5,
                effect,
                ..Rule::default()
            });
            let mut out = Vec::new();
            for _ in 0..20 {
                out.push(matches!(faults.ask(&ASKED).before().await, Verdict::Cut));
            }
            out
        };
        let first = run().await;
        assert_eq!(first, run().await);
        assert!(first.contains(&true) && first.contains(&false));
    }
}
