//! A pool whose nodes have agents: each answers the pool's drain tag by its own tag, and is terminated as soon as it
//! has drained.

use crate::fleet::{pool, ports};
use crate::fleet_cloud::SimCloud;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use myelin_engine::clock::Clock;
use myelin_engine::fleet::{FleetRun, Known, Ports, TAG_DRAIN, TAG_STATE, apply_pool, observe_pool, plan_pool};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Time in which agents do what they do: they say `draining` when they see the drain tag, and have no tag 40 s later.
#[derive(Clone)]
struct Agents {
    cloud: SimCloud,
    /// When a node was seen to drain, when it had drained, and when it was ended.
    seen: Arc<Mutex<BTreeMap<String, [Option<Timestamp>; 3]>>>,
}

impl Agents {
    fn act(&self) {
        let now = self.cloud.now();
        let alive = self.cloud.sim().alive();
        let mut seen = self.seen.lock().unwrap();
        for id in &alive {
            let tags = self.cloud.sim().tags_of(id).clone();
            let drains = tags.contains_key(TAG_DRAIN);
            let [began, drained, _] = seen.entry(id.clone()).or_default();
            match (*began, *drained) {
                (None, _) if drains => {
                    *began = Some(now);
                    self.cloud
                        .sim()
                        .retag(id, |t| drop(t.insert(TAG_STATE.into(), "draining".into())));
                }
                (Some(at), None) if now.duration_since(at) >= SignedDuration::from_secs(40) => {
                    *drained = Some(now);
                    self.cloud.sim().retag(id, |t| drop(t.remove(TAG_STATE)));
                }
                _ => {}
            }
        }
        for (id, [_, _, ended]) in seen.iter_mut() {
            if !alive.contains(id) && ended.is_none() {
                *ended = Some(now);
            }
        }
    }
}

impl Clock for Agents {
    fn now(&self) -> Timestamp {
        self.cloud.now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let own = self.clone();
        Box::pin(async move {
            own.act();
            Clock::sleep(&own.cloud, time).await;
            own.act();
        })
    }
}

#[tokio::test]
async fn a_node_is_ended_as_soon_as_its_agent_has_drained_it_and_not_before() {
    let cloud = SimCloud::new(21);
    let agents = Agents {
        cloud: cloud.clone(),
        seen: Arc::default(),
    };
    let ports = Ports {
        clock: Arc::new(agents.clone()),
        ..ports(&cloud)
    };
    for size in [4, 2] {
        let wanted = pool(json!({"size": size}));
        let seen = observe_pool(&ports, &wanted, &Known::default(), &FleetRun::default())
            .await
            .unwrap();
        let plan = plan_pool(&wanted, &seen, cloud.now());
        let outcome = apply_pool(&ports, &plan, &FleetRun::default()).await;
        assert!(outcome.ready, "{size}");
        cloud.sim().advance(600);
        let ids = cloud.sim().alive();
        for id in ids {
            cloud
                .sim()
                .retag(&id, |t| drop(t.insert(TAG_STATE.into(), "ready".into())));
        }
    }
    let seen = agents.seen.lock().unwrap();
    let gone: Vec<_> = seen.values().filter(|[began, ..]| began.is_some()).collect();
    assert_eq!(gone.len(), 2);
    for [_, drained, ended] in gone {
        let (drained, ended) = (drained.expect("its agent was waited for"), ended.expect("it was ended"));
        let waited = ended.duration_since(drained);
        assert!(
            !waited.is_negative() && waited <= SignedDuration::from_secs(10),
            "{waited}: at the next look, not at the drain's deadline"
        );
    }
}
