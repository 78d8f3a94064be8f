//! What a managed resource is to the server: a schema, an identity, and the answers to the calls of its lifecycle.
//!
//! There is one folder or file per resource type. The server decodes, strips write-only values, checks Terraform's
//! rules for the answer and encodes; a resource takes and returns values.

pub mod node_pool;
pub mod provisioning_token;
pub mod stack;

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::cloud::CloudAccess;
use crate::cluster::Access;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::schema::{IdentitySchema, Schema};
use crate::value::{Path, Value};

/// The circumstances of one call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The way to the cluster that the provider block names.
    pub access: Arc<Access>,
    /// The way to EC2.
    pub cloud: Arc<CloudAccess>,
    /// Cancelled when the call should end early, with what is true.
    pub cancel: CancellationToken,
}

/// What to plan: a create when `prior` is null, otherwise an update.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The state as it was last read.
    pub prior: Value,
    /// Terraform's merge of configuration and prior state, without write-only values.
    pub proposed: Value,
    /// The configuration, with write-only values.
    pub config: Value,
    /// What is stored beside the state. For the second plan of a replacement: what the first one gave.
    pub private: Vec<u8>,
}

/// A planned create or update.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What the state will be.
    pub state: Value,
    /// Attributes whose change needs another instance.
    pub requires_replace: Vec<Path>,
    /// For the apply of this plan.
    pub private: Vec<u8>,
    /// The identity, once it is wholly known.
    pub identity: Option<Value>,
    /// Findings.
    pub diagnostics: Diagnostics,
}

/// What to apply: a destroy when `planned` is null.
#[derive(Debug, Clone)]
pub struct ApplyRequest {
    /// The state before; null for a create.
    pub prior: Value,
    /// What was planned.
    pub planned: Value,
    /// The configuration, with write-only values; null for a destroy.
    pub config: Value,
    /// What the plan gave along.
    pub private: Vec<u8>,
}

/// What is true after an apply, also after a failed one.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The state; null when the instance is gone.
    pub state: Value,
    /// To be stored beside it.
    pub private: Vec<u8>,
    /// The identity.
    pub identity: Option<Value>,
    /// Findings.
    pub diagnostics: Diagnostics,
}

/// What a read found.
#[derive(Debug, Clone)]
pub struct Read {
    /// The state; null when the instance is gone.
    pub state: Value,
    /// The identity.
    pub identity: Option<Value>,
    /// Findings.
    pub diagnostics: Diagnostics,
}

/// What to import.
#[derive(Debug, Clone, PartialEq)]
pub enum ImportTarget {
    /// By the id that a person wrote.
    Id(String),
    /// By identity.
    Identity(Value),
}

/// The state that a `moved` block brings from a resource of another type or provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveSource {
    /// Address of its provider: `registry.terraform.io/hashicorp/kubernetes`.
    pub provider: String,
    /// Its resource type.
    pub type_name: String,
    /// Its stored state, as JSON.
    pub state: Vec<u8>,
}

/// A managed resource type.
pub trait Resource: Send + Sync {
    /// Its name in HCL.
    fn type_name(&self) -> &'static str;

    /// What its configuration and state hold.
    fn schema(&self) -> &Schema;

    /// What names an instance forever.
    fn identity(&self) -> &IdentitySchema;

    /// Problems of a configuration that its schema's rules do not find. Needs nothing but the configuration.
    fn validate(&self, config: &Value) -> Diagnostics;

    /// The identity of an instance, from its state or plan, if it is known already.
    fn identity_of(&self, state: &Value) -> Option<Value>;

    /// Plans a create or update.
    fn plan<'a>(&'a self, call: &'a Call, request: PlanRequest) -> BoxFuture<'a, Planned>;

    /// Looks at a planned destroy. Gives what the apply should know, and findings.
    fn plan_destroy<'a>(&'a self, call: &'a Call, prior: Value) -> BoxFuture<'a, (Vec<u8>, Diagnostics)>;

    /// Creates, updates or destroys. Never fails as a whole: what is true is in the answer, beside any errors.
    fn apply<'a>(&'a self, call: &'a Call, request: ApplyRequest) -> BoxFuture<'a, Applied>;

    /// Looks at the instance as it is.
    fn read<'a>(&'a self, call: &'a Call, state: Value) -> BoxFuture<'a, Read>;

    /// Finds an instance that exists.
    fn import<'a>(&'a self, call: &'a Call, target: ImportTarget) -> BoxFuture<'a, Result<Value, Diagnostic>>;

    /// The state of an instance that takes over another provider's resource. Uses only that state, no request.
    ///
    /// # Errors
    /// If it cannot; the text says how to achieve the same in another way.
    fn moved(&self, source: &MoveSource) -> Result<Value, Diagnostic> {
        Err(Diagnostic::error(
            format!("A {} cannot be moved to {}", source.type_name, self.type_name()),
            "Remove it from the state with a `removed` block and `lifecycle { destroy = false }`, and declare the new one.",
        ))
    }
}
