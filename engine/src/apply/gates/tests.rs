//! A cluster made of channels: what it lists and what it shows later is the test's.

use super::*;
use crate::cluster::{
    Answer, ClusterError, CommandOutput, List, Mode, PodCommand, Precondition, Propagation, Target, WatchEvent,
};
use futures::{StreamExt, stream::BoxStream};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

type News = mpsc::UnboundedSender<Result<WatchEvent, ClusterError>>;

#[derive(Default)]
struct Fake {
    objects: Mutex<Vec<Value>>,
    watchers: Mutex<Vec<(String, News)>>,
    denied: Vec<&'static str>,
    lists: AtomicUsize,
    gets: AtomicUsize,
}

impl Fake {
    fn set(&self, object: Value) {
        let kind = object["kind"].as_str().unwrap().to_owned();
        for (watched, news) in self.watchers.lock().unwrap().iter() {
            if *watched == kind {
                let _ = news.send(Ok(WatchEvent::Applied(object.clone())));
            }
        }
        let mut objects = self.objects.lock().unwrap();
        objects.retain(|o| ObjectKey::of(o) != ObjectKey::of(&object));
        objects.push(object);
    }

    fn remove(&self, object: &Value) {
        self.objects
            .lock()
            .unwrap()
            .retain(|o| ObjectKey::of(o) != ObjectKey::of(object));
        for (watched, news) in self.watchers.lock().unwrap().iter() {
            if *watched == object["kind"].as_str().unwrap() {
                let _ = news.send(Ok(WatchEvent::Deleted(object.clone())));
            }
        }
    }

    /// Ends every watch as a server does that has forgotten the version.
    fn expire(&self) {
        let gone = ClusterError::from_status(410, br#"{"code":410,"reason":"Expired","message":"too old"}"#, None);
        for (_, news) in self.watchers.lock().unwrap().drain(..) {
            let _ = news.send(Err(gone.clone()));
        }
    }

    fn watching(&self, kind: &str) -> bool {
        self.watchers.lock().unwrap().iter().any(|(k, _)| k == kind)
    }
}

fn never<T>() -> Result<T, ClusterError> {
    Err(ClusterError::Unreadable("a gate does not ask this".to_owned()))
}

impl Cluster for Fake {
    fn discover<'a>(&'a self, _: &'a str) -> Answer<'a, Option<Vec<Resource>>> {
        Box::pin(async { never() })
    }
    fn get<'a>(&'a self, _: &'a Target) -> Answer<'a, Option<Value>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { never() })
    }
    fn list<'a>(&'a self, resource: &'a Resource, _: &'a Selection) -> Answer<'a, List> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let denied = self.denied.contains(&resource.kind.as_str());
        let objects = self.objects.lock().unwrap();
        let items = objects
            .iter()
            .filter(|o| o["kind"] == resource.kind.as_str())
            .cloned()
            .collect();
        Box::pin(async move {
            if denied {
                return Err(ClusterError::from_status(
                    403,
                    br#"{"code":403,"reason":"Forbidden","message":"no"}"#,
                    None,
                ));
            }
            Ok(List {
                items,
                resource_version: "1".to_owned(),
            })
        })
    }
    fn apply_as<'a>(&'a self, _: &'a str, _: &'a Target, _: &'a Value, _: bool, _: Mode) -> Answer<'a, Value> {
        Box::pin(async { never() })
    }
    fn create<'a>(&'a self, _: &'a Target, _: &'a Value, _: Mode) -> Answer<'a, Value> {
        Box::pin(async { never() })
    }
    fn update<'a>(&'a self, _: &'a Target, _: &'a Value) -> Answer<'a, Value> {
        Box::pin(async { never() })
    }
    fn json_patch<'a>(&'a self, _: &'a Target, _: &'a Value, _: Mode) -> Answer<'a, Value> {
        Box::pin(async { never() })
    }
    fn delete<'a>(&'a self, _: &'a Target, _: &'a Precondition, _: Propagation, _: Mode) -> Answer<'a, ()> {
        Box::pin(async { never() })
    }
    fn watch<'a>(
        &'a self,
        resource: &'a Resource,
        _: &'a Selection,
        _: &'a str,
    ) -> Answer<'a, BoxStream<'static, Result<WatchEvent, ClusterError>>> {
        let (news, stream) = mpsc::unbounded_channel();
        self.watchers.lock().unwrap().push((resource.kind.clone(), news));
        let stream = futures::stream::unfold(stream, |mut s| async { s.recv().await.map(|event| (event, s)) }).boxed();
        Box::pin(async move { Ok(stream) })
    }
    fn ask_service<'a>(&'a self, _: &'a crate::cluster::ServiceRequest) -> Answer<'a, crate::cluster::ServiceAnswer> {
        Box::pin(async { never() })
    }
    fn exec<'a>(&'a self, _: &'a PodCommand, _: Option<&'a [u8]>) -> Answer<'a, CommandOutput> {
        Box::pin(async { never() })
    }
    fn logs<'a>(&'a self, _: &'a str, _: &'a str, _: &'a str, previous: bool, _: u32) -> Answer<'a, String> {
        Box::pin(async move {
            Ok(format!(
                "starting\nfatal: token hunter2 refused (previous: {previous})\n\n"
            ))
        })
    }
}

struct Scene {
    fake: Arc<Fake>,
    gates: Gates,
    told: Arc<Mutex<Vec<String>>>,
    key: ObjectKey,
    resource: Resource,
}

impl Scene {
    fn new(fake: Fake) -> Self {
        let fake = Arc::new(fake);
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let settings = Settings {
            unprobed_uptime: Duration::from_millis(150),
            steady_uptime: Duration::from_millis(300),
            ..Settings::default()
        };
        let patience = Patience {
            itself: Duration::from_millis(100),
            others: Duration::from_secs(3600),
        };
        let tell: Tell = Arc::new(move |_, verdict| telling.lock().unwrap().push(verdict.why()));
        let cluster: Arc<dyn Cluster> = fake.clone();
        Self {
            gates: Gates::new(cluster, settings, patience, tell),
            fake,
            told,
            key: ObjectKey::new("apps", "StatefulSet", "shop", "db"),
            resource: kinds::known("apps/v1", "StatefulSet"),
        }
    }

    /// An apply that the server has answered.
    fn applied(&self, object: Value) {
        self.gates.applied(&self.key, &object, None);
        self.fake.set(object);
    }

    async fn pass(&self, until: Until) -> Passage {
        let deadline = Instant::now() + Duration::from_secs(20);
        let cancel = CancellationToken::new();
        self.gates
            .pass(&self.key, &self.resource, until, Some("db"), deadline, &cancel)
            .await
    }

    /// Waits until the watches that a gate needs are open.
    async fn watched(&self) {
        while !(self.fake.watching("Pod") && self.fake.watching("Event") && self.fake.watching("StatefulSet")) {
            tokio::task::yield_now().await;
        }
    }

    async fn told(&self, words: &str) {
        while !self.told.lock().unwrap().iter().any(|t| t.contains(words)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn set(ready: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"namespace": "shop", "name": "db", "uid": "db", "generation": 1},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1, "readyReplicas": ready, "availableReplicas": ready,
                   "updatedReplicas": 1, "currentRevision": "r", "updateRevision": "r"}})
}

fn pod(probed: bool, ready: bool, state: &Value, restarts: i64) -> Value {
    let mut container = json!({"name": "c"});
    if probed {
        container["readinessProbe"] = json!({});
    }
    let last = if restarts > 0 {
        json!({"terminated": {"exitCode": 3, "reason": "Error"}})
    } else {
        json!({})
    };
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "db-0", "uid": "p", "labels": {"controller-revision-hash": "r"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": true}]},
        "spec": {"nodeName": "n", "containers": [container], "restartPolicy": "Always"},
        "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "containerStatuses": [{"name": "c", "ready": ready, "restartCount": restarts, "state": state, "lastState": last}]}})
}

fn running() -> Value {
    json!({"running": {}})
}

#[tokio::test]
async fn a_gate_opens_on_news_and_nothing_is_asked_twice() {
    let scene = Scene::new(Fake::default());
    scene.applied(set(0));
    let (passage, ()) = tokio::join!(scene.pass(Until::Ready), async {
        scene.watched().await;
        scene.fake.set(pod(true, false, &running(), 0));
        scene.told("runs and is not ready yet").await;
        scene.fake.set(pod(true, true, &running(), 0));
        scene.fake.set(set(1));
    });
    assert!(
        matches!(passage, Passage::Open(ref v) if v.state == State::Current),
        "{passage:?}"
    );
    assert_eq!(scene.fake.gets.load(Ordering::SeqCst), 0);
    // The set itself, pods, claims and events: one list each.
    assert_eq!(scene.fake.lists.load(Ordering::SeqCst), 4);
    // Believed for good only after a while; a second wait starts no second watch.
    let before = Instant::now();
    assert!(matches!(scene.pass(Until::Steady).await, Passage::Open(_)));
    assert!(before.elapsed() >= Duration::from_millis(100));
    assert_eq!(scene.fake.lists.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_container_without_a_probe_is_believed_by_time_alone() {
    let scene = Scene::new(Fake::default());
    scene.applied(set(1));
    let before = Instant::now();
    let (passage, ()) = tokio::join!(scene.pass(Until::Ready), async {
        scene.watched().await;
        scene.fake.set(pod(false, true, &running(), 0));
    });
    assert!(matches!(passage, Passage::Open(_)), "{passage:?}");
    assert!(before.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_crash_loop_ends_the_wait_with_its_last_words() {
    let scene = Scene::new(Fake::default());
    scene.applied(set(0));
    let (passage, ()) = tokio::join!(scene.pass(Until::Ready), async {
        scene.watched().await;
        for restarts in 0..3 {
            scene.fake.set(pod(false, true, &running(), restarts));
            scene.fake.set(set(1));
            let down = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
            scene.fake.set(pod(false, false, &down, restarts));
            scene.fake.set(set(0));
        }
    });
    let text = passage.complaint(&scene.key, |t| t.replace("hunter2", "***")).unwrap();
    assert!(
        text.starts_with("StatefulSet shop/db: pod db-0 container c: ended 3 times, last with Error, exit code 3"),
        "{text}"
    );
    assert!(
        text.ends_with("the last line of its log: fatal: token *** refused (previous: false)"),
        "{text}"
    );
    assert!(matches!(
        passage,
        Passage::Stuck {
            how: Stuck::GivenUp,
            ..
        }
    ));
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_waited_for_whatever_is_wrong_with_it() {
    let scene = Scene::new(Fake::default());
    scene.applied(set(0));
    let (passage, ()) = tokio::join!(scene.pass(Until::ReadyAtLast), async {
        scene.watched().await;
        let wrong = json!({"waiting": {"reason": "InvalidImageName", "message": "no image"}});
        scene.fake.set(pod(true, false, &wrong, 0));
        scene.told("InvalidImageName").await;
        scene.fake.remove(&set(0));
        scene.told("it was removed").await;
        scene.fake.set(pod(true, true, &running(), 0));
        scene.fake.set(set(1));
    });
    assert!(matches!(passage, Passage::Open(_)), "{passage:?}");
}

#[tokio::test]
async fn an_expired_watch_is_started_anew_and_what_vanished_meanwhile_is_noticed() {
    let fake = Fake::default();
    fake.set(set(1));
    let scene = Scene::new(fake);
    let (passage, ()) = tokio::join!(scene.pass(Until::Gone), async {
        scene.watched().await;
        scene.fake.objects.lock().unwrap().clear();
        scene.fake.expire();
    });
    assert!(matches!(passage, Passage::Open(_)), "{passage:?}");
}

#[tokio::test]
async fn another_object_of_the_same_name_does_not_keep_it_from_being_gone() {
    let fake = Fake::default();
    fake.set(set(1));
    let scene = Scene::new(fake);
    let (passage, ()) = tokio::join!(scene.pass(Until::Gone), async {
        scene.watched().await;
        scene.fake.remove(&set(1));
        let mut other = set(0);
        other["metadata"]["uid"] = json!("another");
        scene.fake.set(other);
    });
    assert!(matches!(passage, Passage::Open(_)), "{passage:?}");
}

#[tokio::test]
async fn without_the_right_to_see_pods_counts_decide() {
    let scene = Scene::new(Fake {
        denied: vec!["Pod", "Event"],
        ..Fake::default()
    });
    scene.applied(set(1));
    let passage = scene.pass(Until::Ready).await;
    assert!(matches!(passage, Passage::Open(_)), "{passage:?}");
}

#[tokio::test]
async fn a_wait_ends_with_its_time_and_when_it_is_called_off() {
    let scene = Scene::new(Fake::default());
    scene.applied(set(0));
    let cancel = CancellationToken::new();
    let soon = Instant::now() + Duration::from_millis(50);
    let (key, resource) = (&scene.key, &scene.resource);
    let passage = scene.gates.pass(key, resource, Until::Ready, None, soon, &cancel).await;
    assert!(
        matches!(
            passage,
            Passage::Stuck {
                how: Stuck::TimedOut,
                ..
            }
        ),
        "{passage:?}"
    );
    let text = passage.complaint(key, str::to_owned).unwrap();
    assert_eq!(text, "StatefulSet shop/db: 0 of 1 pod ready; the time for it is over");
    cancel.cancel();
    let late = Instant::now() + Duration::from_secs(3600);
    let passage = scene.gates.pass(key, resource, Until::Ready, None, late, &cancel).await;
    assert!(
        matches!(
            passage,
            Passage::Stuck {
                how: Stuck::Cancelled,
                ..
            }
        ),
        "{passage:?}"
    );
}

#[tokio::test]
async fn what_is_ready_as_soon_as_it_is_written_needs_no_watch() {
    let scene = Scene::new(Fake::default());
    let key = ObjectKey::new("", "ConfigMap", "shop", "settings");
    let answer =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "settings"}});
    scene.gates.applied(&key, &answer, None);
    let deadline = Instant::now() + Duration::from_secs(5);
    let cancel = CancellationToken::new();
    let resource = kinds::known("v1", "ConfigMap");
    let passage = scene
        .gates
        .pass(&key, &resource, Until::Steady, None, deadline, &cancel)
        .await;
    assert!(matches!(passage, Passage::Open(_)));
    assert_eq!(scene.fake.lists.load(Ordering::SeqCst), 0);
}
