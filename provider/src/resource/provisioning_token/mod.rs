//! `myelin_provisioning_token`: a one-time secret as a Terraform resource.
//!
//! The engine decides when to mint a value and mints it; nothing here ever holds one. This module decides what concerns
//! Terraform: what a plan shows, what a failed apply leaves in the state, and what an import knows.

mod apply;
mod document;
mod intent;
mod plan;
mod read;
mod schema;
pub(in crate::resource) mod state;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use myelin_engine::record::StackId;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::schema::{IdentitySchema, Schema};
use crate::value::Value;

use super::{Applied, ApplyRequest, Call, ImportTarget, PlanRequest, Planned, Read, Resource};
use document::Operation;

/// The resource type.
#[derive(Debug)]
pub struct TokenResource {
    schema: Schema,
    identity: IdentitySchema,
}

impl Default for TokenResource {
    fn default() -> TokenResource {
        TokenResource {
            schema: schema::schema(),
            identity: schema::identity(),
        }
    }
}

/// The token that a state, plan or configuration names, if both parts are known.
fn token_id(value: &Value) -> Option<StackId> {
    let text = |name| value.attribute(name).as_str();
    Some(StackId::of_token(text("namespace")?, text("name")?))
}

/// `namespace/name`, as people write it.
fn shown(id: &StackId) -> String {
    format!("{}/{}", id.namespace, id.token().unwrap_or_default())
}

impl Resource for TokenResource {
    fn type_name(&self) -> &'static str {
        "myelin_provisioning_token"
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
        document::token(&self.schema, config, Operation::Update)
            .err()
            .unwrap_or_default()
    }

    fn identity_of(&self, state: &Value) -> Option<Value> {
        let (secret, text) = (state.attribute("secret"), |value: &Value| {
            value.as_str().map(str::to_owned)
        });
        let parts = [
            text(state.attribute("namespace"))?,
            text(state.attribute("name"))?,
            text(secret.attribute("name"))?,
            text(secret.attribute("key"))?,
        ];
        Some(self.identity.value(parts.iter().map(String::as_str)))
    }

    fn plan<'a>(&'a self, call: &'a Call, request: PlanRequest) -> BoxFuture<'a, Planned> {
        plan::plan(self, call, request).boxed()
    }

    fn plan_destroy<'a>(&'a self, _: &'a Call, _: Value) -> BoxFuture<'a, (Vec<u8>, Diagnostics)> {
        async { (intent::destroy(), Diagnostics::default()) }.boxed()
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
