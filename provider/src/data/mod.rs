//! What a data source is to the server: a schema, and values that are read again in every plan. It changes nothing.

pub mod nodes;

use futures::future::BoxFuture;

use crate::diagnostic::Diagnostics;
use crate::resource::Call;
use crate::schema::Schema;
use crate::value::Value;

/// A data source.
pub trait DataSource: Send + Sync {
    /// Its name in HCL.
    fn type_name(&self) -> &'static str;

    /// What its configuration says and what it gives.
    fn schema(&self) -> &Schema;

    /// Problems of a configuration that its schema's rules do not find.
    fn validate(&self, config: &Value) -> Diagnostics;

    /// Gives the values, from a wholly known configuration.
    ///
    /// # Errors
    /// Why there are none.
    fn read<'a>(&'a self, call: &'a Call, config: Value) -> BoxFuture<'a, Result<Value, Diagnostics>>;
}
