//! `myelin_node_pool`: a pool of EC2 workers as a Terraform resource.
//!
//! The engine decides what happens to which node and does it; the truth is in EC2's tags. This module decides what
//! concerns Terraform: what a plan shows, what a failed apply leaves in the state, and what an import knows. User data
//! is write-only: no plan and no state contains it.

mod apply;
mod document;
mod intent;
mod plan;
mod read;
mod schema;
mod state;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use myelin_engine::fleet::{FleetRun, PoolId, Ports};
use myelin_engine::record::Owner;
use tokio_util::sync::CancellationToken;

use crate::cloud::NoCloud;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::schema::{IdentitySchema, Schema};
use crate::value::Value;

use super::{Applied, ApplyRequest, Call, ImportTarget, PlanRequest, Planned, Read, Resource};

/// The resource type.
#[derive(Debug)]
pub struct PoolResource {
    schema: Schema,
    identity: IdentitySchema,
}

impl Default for PoolResource {
    fn default() -> PoolResource {
        PoolResource {
            schema: schema::schema(),
            identity: schema::identity(),
        }
    }
}

/// The pool that a state, plan or configuration names, if both parts are known.
fn pool_id(value: &Value) -> Option<PoolId> {
    let text = |name| value.attribute(name).as_str().map(str::to_owned);
    Some(PoolId {
        cluster: text("cluster")?,
        name: text("name")?,
    })
}

/// Instances that a state remembers.
fn known_nodes(state: &Value) -> BTreeSet<String> {
    let nodes = state.attribute("nodes").as_map();
    nodes.into_iter().flat_map(|nodes| nodes.keys().cloned()).collect()
}

/// The ports. A cluster is included only for a pool whose nodes are cluster nodes; the engine reports what is missing
/// without it.
async fn ports(call: &Call, attributes: &Value) -> Result<Ports, NoCloud> {
    let cluster = if attributes.attribute("kubernetes").is_null() {
        None
    } else {
        call.access.cluster().await.ok()
    };
    call.cloud.ports(cluster).await
}

fn run(call: &Call, cancel: CancellationToken) -> FleetRun {
    FleetRun {
        cancel,
        progress: Arc::new(|step| tracing::info!(nodes = step.nodes.join(" "), "{}", step.text)),
        cooling: call.cloud.cooling(),
        pace: call.cloud.pace(),
        owner: Some(Owner::Terraform),
    }
}

/// While git owns the pool Terraform changes nothing and says so.
fn owned_by_git(source: &str) -> Diagnostic {
    Diagnostic::warning(
        "The node pool belongs to git",
        format!(
            "The git source {source} owns this pool and keeps it as the repository says. Terraform changes nothing until the \
             pool is handed back."
        ),
    )
}

impl Resource for PoolResource {
    fn type_name(&self) -> &'static str {
        "myelin_node_pool"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn identity(&self) -> &IdentitySchema {
        &self.identity
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        if document::is_undecided(&self.schema, config) {
            return Diagnostics::default();
        }
        document::pool(&self.schema, config).err().unwrap_or_default()
    }

    fn identity_of(&self, state: &Value) -> Option<Value> {
        let id = pool_id(state)?;
        Some(self.identity.value([id.cluster.as_str(), id.name.as_str()]))
    }

    fn plan<'a>(&'a self, call: &'a Call, request: PlanRequest) -> BoxFuture<'a, Planned> {
        plan::plan(self, call, request).boxed()
    }

    fn plan_destroy<'a>(&'a self, call: &'a Call, prior: Value) -> BoxFuture<'a, (Vec<u8>, Diagnostics)> {
        plan::plan_destroy(call, prior).boxed()
    }

    fn apply<'a>(&'a self, call: &'a Call, request: ApplyRequest) -> BoxFuture<'a, Applied> {
        apply::apply(self, call, request).boxed()
    }

    fn read<'a>(&'a self, call: &'a Call, state: Value) -> BoxFuture<'a, Read> {
        read::read(self, call, state).boxed()
    }

    fn import<'a>(&'a self, call: &'a Call, target: ImportTarget) -> BoxFuture<'a, Result<Value, Diagnostic>> {
        read::import(self, call, target).boxed()
    }
}
