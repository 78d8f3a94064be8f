//! What an ephemeral resource is to the server: a schema, and values that exist during one run of Terraform and are
//! stored nowhere.

pub mod secret;

use futures::future::BoxFuture;

use crate::diagnostic::Diagnostics;
use crate::resource::Call;
use crate::schema::Schema;
use crate::value::Value;

/// An ephemeral resource type.
pub trait Ephemeral: Send + Sync {
    /// Its name in HCL.
    fn type_name(&self) -> &'static str;

    /// What its configuration says and what it gives.
    fn schema(&self) -> &Schema;

    /// Gives the values, from a wholly known configuration.
    ///
    /// # Errors
    /// Why there are none.
    fn open<'a>(&'a self, call: &'a Call, config: Value) -> BoxFuture<'a, Result<Value, Diagnostics>>;
}
