//! Node pools of a commit: desired pools → one plan each → nodes; pools that no document names any more; drift.
//!
//! EC2's tags hold the truth and the owner, so nothing is stored here but the connection. Region and credentials are
//! found as by every AWS tool, when the first pool needs them and not before.

use crate::control::PoolWord;
use crate::documents::{Body, Placed};
use myelin_aws::{Settings, connect};
use myelin_engine::clock::SystemClock;
use myelin_engine::cloud::{Calls, Cloud};
use myelin_engine::cluster::Cluster;
use myelin_engine::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use myelin_engine::document::{DocumentName, KubernetesNodes, NodePool};
use myelin_engine::fleet::{
    Cooling, DrainPolicy, FleetOutcome, FleetPlan, FleetRun, Known, NodeFacts, NodeFate, Pace, PoolId, Ports,
    apply_pool, destroy_pool, find_pool, hand_over_pool, observe_pool, plan_pool, pools_of,
};
use myelin_engine::record::Owner;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// The drain of a pool whose document is gone.
const DRAIN: Duration = Duration::from_secs(300);

/// Nodes of a pool that are shown one by one.
const NODES_SHOWN: usize = 20;

/// How a pool is called beside stacks, where a status or a report names both.
pub(crate) fn title(id: &PoolId) -> String {
    format!("NodePool {id}")
}

/// The pool that is called so beside stacks.
pub(crate) fn pool_of(title: &str) -> Option<&str> {
    title.strip_prefix("NodePool ")
}

/// What is reported about a pool after its apply: how many nodes it has, why it is not ready, and its nodes.
pub(crate) fn word(outcome: &FleetOutcome) -> PoolWord {
    let ready = outcome.nodes.iter().filter(|node| node.ready).count();
    let mut reason = format!("{ready} of {} nodes ready", outcome.nodes.len());
    if !outcome.ready
        && let Some(problem) = outcome.diagnostics.iter().next()
    {
        reason.push_str(&format!("; {}", problem.summary));
    }
    let line = |node: &NodeFacts| {
        let health = if node.ready { "ready" } else { "not ready" };
        let kind = [
            node.instance_type.as_str(),
            &node.zone,
            node.lifecycle.word(),
            &node.state,
        ];
        let kind: Vec<&str> = kind.into_iter().filter(|word| !word.is_empty()).collect();
        format!("{}: {health} ({})", node.id, kind.join(", "))
    };
    let mut nodes: Vec<String> = outcome.nodes.iter().take(NODES_SHOWN).map(line).collect();
    if outcome.nodes.len() > NODES_SHOWN {
        nodes.push(format!("and {} more", outcome.nodes.len() - NODES_SHOWN));
    }
    PoolWord {
        state: if outcome.ready { "ready" } else { "not ready" }.to_owned(),
        reason,
        nodes,
    }
}

/// Whether an owner may have pools that its documents do not name any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Earlier {
    /// Nothing speaks for it, so EC2 is not asked.
    #[default]
    Unlikely,
    /// EC2 is configured here; if it does not answer, that is no problem of documents without pools.
    Perhaps,
    /// The source itself has said so.
    Surely,
}

impl Earlier {
    /// What a source last said tells.
    pub(crate) fn said(said: &BTreeMap<String, String>) -> Self {
        if said.keys().any(|name| pool_of(name).is_some()) {
            Self::Surely
        } else {
            Self::Unlikely
        }
    }
}

/// What one pool should be.
#[derive(Debug, Clone)]
pub(crate) struct WantedPool {
    pub(crate) pool: Arc<NodePool>,
    pub(crate) name: DocumentName,
    pub(crate) after: BTreeSet<DocumentName>,
    /// Where its document is written.
    pub(crate) place: FilePlace,
}

impl WantedPool {
    /// Of a document, if it is one of a pool.
    pub(crate) fn of(placed: &Placed) -> Option<Self> {
        let Body::Pool(pool) = &placed.body else { return None };
        Some(Self {
            pool: Arc::clone(pool),
            name: placed.name(),
            after: placed.depends_on().clone(),
            place: placed.place.clone(),
        })
    }

    pub(crate) fn id(&self) -> PoolId {
        PoolId::of(&self.pool)
    }
}

/// What would happen to one pool. None if EC2 could not be reached; the problems say why.
#[derive(Debug)]
pub(crate) struct PlannedPool {
    pub(crate) wanted: WantedPool,
    pub(crate) plan: Option<FleetPlan>,
    problems: Diagnostics,
}

impl PlannedPool {
    pub(crate) fn is_empty(&self) -> bool {
        self.plan.as_ref().is_some_and(FleetPlan::is_empty)
    }

    /// Problems of the document or the plan, at the document's place. EC2 being unreachable is not the commit's fault:
    /// it fails this pool alone, when it is applied.
    pub(crate) fn diagnostics(&self) -> Diagnostics {
        let own = self.plan.iter().flat_map(|plan| plan.diagnostics.iter());
        let blind = self.plan.is_none();
        let of_document = |problem: &&Diagnostic| !blind || !problem.attribute.is_empty();
        let all = self.problems.iter().filter(of_document).chain(own);
        Diagnostics(
            all.map(|problem| problem.clone().at(self.wanted.place.clone()))
                .collect(),
        )
    }
}

/// What would happen to the pools of a commit.
#[derive(Default)]
pub(crate) struct Pools {
    pub(crate) planned: Vec<PlannedPool>,
    /// Pools that the source owns and no document names, each with its number of nodes.
    pub(crate) gone: BTreeMap<PoolId, usize>,
    ports: Option<Ports>,
    follower: Option<Follower>,
}

/// Receives the steps of an apply, besides the log.
type Follower = Arc<dyn Fn(&str) + Send + Sync>;

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools")
            .field("planned", &self.planned)
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}

/// The process's way to EC2.
static CLOUD: OnceCell<Arc<dyn Cloud>> = OnceCell::const_new();

/// Requests that the process has sent to EC2 and SSM, each page and each repetition counted; nothing before the first pool.
pub(crate) fn requests() -> Calls {
    CLOUD.get().map(|cloud| cloud.calls()).unwrap_or_default()
}

/// One connection, one pace and one memory of refused offerings, for all sources.
async fn ports(cluster: Option<&Arc<dyn Cluster>>) -> Result<Ports, Diagnostic> {
    let cloud = CLOUD
        .get_or_try_init(|| async {
            let found = connect(&Settings::default()).await;
            found.map(|ec2| Arc::new(ec2) as Arc<dyn Cloud>)
        })
        .await
        .map_err(|why| Diagnostic::error("EC2 cannot be reached").detail(why.to_string()))?;
    Ok(Ports {
        cloud: Arc::clone(cloud),
        cluster: cluster.cloned(),
        clock: Arc::new(SystemClock),
    })
}

fn cooling() -> Arc<Cooling> {
    static COOLING: OnceLock<Arc<Cooling>> = OnceLock::new();
    Arc::clone(COOLING.get_or_init(Arc::default))
}

fn pace() -> Arc<Pace> {
    static PACE: OnceLock<Arc<Pace>> = OnceLock::new();
    Arc::clone(PACE.get_or_init(Arc::default))
}

fn run(owner: &Owner, cancel: &CancellationToken) -> FleetRun {
    let name = owner.to_string();
    FleetRun {
        cancel: cancel.clone(),
        progress: Arc::new(move |step| {
            tracing::info!(owner = name, nodes = step.nodes.join(" "), "{}", step.text);
        }),
        cooling: cooling(),
        pace: pace(),
        owner: Some(owner.clone()),
    }
}

/// Plans the pools of a commit. `whole` says that no other pool should exist; `earlier` whether there may be some
/// although the commit has none.
///
/// # Errors
/// When it cannot be determined which pools the source has.
pub(crate) async fn look(
    cluster: Option<&Arc<dyn Cluster>>,
    wanted: &[WantedPool],
    owner: &Owner,
    whole: bool,
    earlier: Earlier,
) -> Result<Pools, Diagnostics> {
    match earlier {
        Earlier::Unlikely if wanted.is_empty() => Ok(Pools::default()),
        Earlier::Perhaps if wanted.is_empty() => match look_at(cluster, wanted, owner, whole).await {
            Ok(pools) => Ok(pools),
            Err(problems) => {
                tracing::debug!(%problems, "it is not known whether there are pools of earlier documents");
                Ok(Pools::default())
            }
        },
        _ if wanted.is_empty() && !whole => Ok(Pools::default()),
        _ => look_at(cluster, wanted, owner, whole).await,
    }
}

async fn look_at(
    cluster: Option<&Arc<dyn Cluster>>,
    wanted: &[WantedPool],
    owner: &Owner,
    whole: bool,
) -> Result<Pools, Diagnostics> {
    let mut pools = Pools::default();
    let ports = match ports(cluster).await {
        Ok(ports) => ports,
        Err(problem) if wanted.is_empty() => return Err(problem.into()),
        Err(problem) => {
            pools.planned = wanted.iter().map(|pool| unseen(pool, problem.clone().into())).collect();
            return Ok(pools);
        }
    };
    let cancel = CancellationToken::new();
    let run = run(owner, &cancel);
    let known = |pool: &NodePool| Known {
        update_image: pool.follow_image,
        look_for_newer: true,
        look_for_owner: true,
        check_health: true,
        ..Known::default()
    };
    let looks = wanted.iter().map(|pool| {
        let (ports, run) = (&ports, &run);
        async move {
            match observe_pool(ports, &pool.pool, &known(&pool.pool), run).await {
                Ok(seen) => {
                    let mut problems = Diagnostics::new();
                    if let Some(other) = seen.owner.as_ref().filter(|other| *other != owner) {
                        problems.push(
                            Diagnostic::error(format!("pool {} belongs to {other}, not to {owner}", pool.id())).detail(
                                format!("hand it over first: myelin hand-over --pool {} --to {owner}", pool.id()),
                            ),
                        );
                    }
                    PlannedPool {
                        plan: Some(plan_pool(&pool.pool, &seen, ports.clock.now())),
                        wanted: pool.clone(),
                        problems,
                    }
                }
                Err(problems) => unseen(pool, problems),
            }
        }
    });
    pools.planned = futures::future::join_all(looks).await;
    if whole {
        let named: BTreeSet<PoolId> = wanted.iter().map(WantedPool::id).collect();
        for id in pools_of(&*ports.cloud, owner).await? {
            if !named.contains(&id) {
                let found = find_pool(&ports, &id, &BTreeSet::new(), &run).await?;
                pools.gone.insert(id, found.nodes.len());
            }
        }
    }
    pools.ports = Some(ports);
    Ok(pools)
}

fn unseen(pool: &WantedPool, problems: Diagnostics) -> PlannedPool {
    PlannedPool {
        wanted: pool.clone(),
        plan: None,
        problems,
    }
}

/// Whether a pool differs from its document: one DescribeInstances for each while all is well. A look that fails
/// reports nothing.
pub(crate) async fn have_drifted(cluster: &Arc<dyn Cluster>, wanted: &[WantedPool], owner: &Owner) -> bool {
    let Ok(ports) = ports(Some(cluster)).await else {
        return false;
    };
    let cancel = CancellationToken::new();
    let run = run(owner, &cancel);
    for pool in wanted {
        match observe_pool(&ports, &pool.pool, &Known::default(), &run).await {
            Ok(seen) => {
                if !plan_pool(&pool.pool, &seen, ports.clock.now()).is_empty() {
                    return true;
                }
            }
            Err(problems) => tracing::warn!(pool = %pool.id(), %problems, "the pool could not be looked at"),
        }
    }
    false
}

impl Pools {
    /// Whether nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.planned.iter().all(PlannedPool::is_empty)
    }

    /// Nodes that would be removed and not replaced, and nodes that there are.
    pub(crate) fn removals(&self) -> (usize, usize) {
        let gone: usize = self.gone.values().sum();
        let of = |fates: &[NodeFate]| {
            let nodes = self
                .planned
                .iter()
                .filter_map(|pool| pool.plan.as_ref())
                .flat_map(|plan| &plan.nodes);
            nodes.filter(|node| fates.contains(&node.fate)).count()
        };
        let all = [NodeFate::Keep, NodeFate::Undrain, NodeFate::Replace, NodeFate::Remove];
        (gone + of(&[NodeFate::Remove]), gone + of(&all))
    }

    /// What identifies it; nothing when the commit is about no pool.
    pub(crate) fn identity(&self) -> String {
        let planned = self.planned.iter().map(|pool| {
            let hash = pool.plan.as_ref().map_or("unseen", |plan| plan.hash.as_str());
            format!("pool {} {hash}\n", pool.wanted.id())
        });
        let gone = self.gone.iter().map(|(id, nodes)| format!("gone pool {id} {nodes}\n"));
        planned.chain(gone).collect()
    }

    /// Also reports the steps of applies to this function.
    pub(crate) fn follow(&mut self, tell: impl Fn(&str) + Send + Sync + 'static) {
        self.follower = Some(Arc::new(tell));
    }

    fn run(&self, id: &PoolId, owner: &Owner, cancel: &CancellationToken) -> FleetRun {
        let mut run = run(owner, cancel);
        if let Some(tell) = self.follower.clone() {
            let (log, name) = (run.progress, id.to_string());
            run.progress = Arc::new(move |step| {
                tell(&format!("pool {name}: {} {}", step.text, step.nodes.join(" ")));
                log(step);
            });
        }
        run
    }

    /// Brings one pool to its plan.
    pub(crate) async fn apply(&self, planned: &PlannedPool, owner: &Owner, cancel: &CancellationToken) -> FleetOutcome {
        match (&planned.plan, &self.ports) {
            (Some(plan), Some(ports)) => {
                let outcome = apply_pool(ports, plan, &self.run(&plan.id, owner, cancel)).await;
                tracing::info!(pool = %plan.id, calls = %outcome.calls, ready = outcome.ready, "the pool was applied");
                outcome
            }
            _ => FleetOutcome {
                diagnostics: planned.problems.clone(),
                ..FleetOutcome::default()
            },
        }
    }

    /// Drains and ends a pool that no document names.
    pub(crate) async fn remove(&self, id: &PoolId, owner: &Owner, cancel: &CancellationToken) -> FleetOutcome {
        let Some(ports) = &self.ports else {
            return FleetOutcome::default();
        };
        // Without the document, only the tags of its nodes are left: a node that is in the cluster is drained there.
        let policy = DrainPolicy {
            timeout: DRAIN,
            kubernetes: ports.cluster.as_ref().map(|_| KubernetesNodes {
                force_at_deadline: false,
            }),
        };
        destroy_pool(ports, id, &policy, &BTreeSet::new(), &self.run(id, owner, cancel)).await
    }
}

impl std::fmt::Display for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for pool in &self.planned {
            match &pool.plan {
                Some(plan) => writeln!(f, "{}", plan.text())?,
                None => writeln!(
                    f,
                    "pool {}: EC2 could not be asked\n  {}\n",
                    pool.wanted.id(),
                    pool.problems
                )?,
            }
        }
        for (id, nodes) in &self.gone {
            writeln!(f, "pool {id}: remove all {nodes} nodes, no document names it\n")?;
        }
        Ok(())
    }
}

/// Gives a pool to another owner.
///
/// # Errors
/// When EC2 refuses, does not answer, or knows no such pool.
pub(crate) async fn hand_over(id: &PoolId, to: &Owner) -> Result<Option<Owner>, Diagnostics> {
    let ports = ports(None).await?;
    hand_over_pool(&*ports.cloud, id, to).await
}
