//! `myelin_stack`: a phased stack as a Terraform resource.
//!
//! The engine decides everything about Kubernetes. This module decides what concerns Terraform: which attribute a
//! problem belongs to, what is known when, what a failed apply leaves in the state, and how a failed first apply is
//! taken over instead of destroyed.

mod apply;
mod checks;
mod desired;
pub(in crate::resource) mod document;
mod intent;
mod moved;
mod plan;
mod read;
mod schema;
pub(in crate::resource) mod state;
pub(in crate::resource) mod tokens;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use myelin_engine::record::StackId;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::schema::{IdentitySchema, Schema};
use crate::value::Value;

use super::{Applied, ApplyRequest, Call, ImportTarget, MoveSource, PlanRequest, Planned, Read, Resource};
use document::Operation;

/// The resource type.
#[derive(Debug)]
pub struct StackResource {
    schema: Schema,
    identity: IdentitySchema,
}

impl Default for StackResource {
    fn default() -> StackResource {
        StackResource {
            schema: schema::schema(),
            identity: schema::identity(),
        }
    }
}

/// The stack that a state, plan or configuration names, if both parts are known.
fn stack_id(value: &Value) -> Option<StackId> {
    let text = |name| value.attribute(name).as_str().map(str::to_owned);
    Some(StackId {
        namespace: text("namespace")?,
        name: text("name")?,
    })
}

impl Resource for StackResource {
    fn type_name(&self) -> &'static str {
        "myelin_stack"
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
        document::stack(&self.schema, config, Operation::Update)
            .err()
            .unwrap_or_default()
    }

    fn identity_of(&self, state: &Value) -> Option<Value> {
        stack_id(state).map(|id| self.identity.value([id.namespace.as_str(), id.name.as_str()]))
    }

    fn plan<'a>(&'a self, call: &'a Call, request: PlanRequest) -> BoxFuture<'a, Planned> {
        plan::plan(self, call, request).boxed()
    }

    fn plan_destroy<'a>(&'a self, _: &'a Call, _: Value) -> BoxFuture<'a, (Vec<u8>, Diagnostics)> {
        async { (intent::Intent::Destroy.to_private(), Diagnostics::default()) }.boxed()
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

    fn moved(&self, source: &MoveSource) -> Result<Value, Diagnostic> {
        moved::moved(self, source)
    }
}
