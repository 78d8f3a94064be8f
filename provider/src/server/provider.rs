//! The provider service: finds the resource of each call by name, runs the call where neither a panic nor a broken
//! connection does harm, and returns the resource's answer.
//!
//! What we do not offer (functions, lists, actions, state stores) gets an empty answer if the protocol has one, and
//! otherwise `Unimplemented`, the default of the definitions: Terraform tolerates that and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use myelin_proto::tfplugin6 as tf;
use myelin_proto::tfplugin6::provider_server;
use tonic::{Request, Response, Status};

use crate::cloud::{AwsConfiguration, CloudAccess};
use crate::cluster::Access;
use crate::configuration::{self, Configuration};
use crate::data::DataSource;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::ephemeral::Ephemeral;
use crate::lifetime::Lifetime;
use crate::panics;
use crate::resource::{Call, Resource};
use crate::schema::{Schema, check_configuration};

use super::translate::decode;
use super::{data, ephemeral, managed};

type Answer<T> = Result<Response<T>, Status>;

/// The provider: its resources, its configuration, and what runs.
#[derive(Clone)]
pub struct Provider {
    inner: Arc<Inner>,
}

struct Inner {
    schema: Schema,
    resources: BTreeMap<&'static str, Box<dyn Resource>>,
    ephemerals: BTreeMap<&'static str, Box<dyn Ephemeral>>,
    data: BTreeMap<&'static str, Box<dyn DataSource>>,
    access: RwLock<(Arc<Access>, Arc<CloudAccess>)>,
    lifetime: Arc<Lifetime>,
    environment: configuration::Environment,
}

impl Provider {
    /// A provider of these resources, ephemeral resources and data sources. `environment` is what the provider block may leave to the environment.
    pub fn new(
        resources: Vec<Box<dyn Resource>>,
        ephemerals: Vec<Box<dyn Ephemeral>>,
        data: Vec<Box<dyn DataSource>>,
        environment: configuration::Environment,
        lifetime: Arc<Lifetime>,
    ) -> Provider {
        let resources = resources
            .into_iter()
            .map(|resource| (resource.type_name(), resource))
            .collect();
        let ephemerals = ephemerals
            .into_iter()
            .map(|ephemeral| (ephemeral.type_name(), ephemeral))
            .collect();
        let data = data.into_iter().map(|source| (source.type_name(), source)).collect();
        let inner = Inner {
            schema: configuration::schema(),
            resources,
            ephemerals,
            data,
            access: RwLock::default(),
            lifetime,
            environment,
        };
        Provider { inner: Arc::new(inner) }
    }

    /// Runs a call in a task of its own: a client that goes away does not cut it in the middle, and a panic in it is an error
    /// of this call alone.
    async fn run<T, F>(&self, rpc: &'static str, work: impl FnOnce(Arc<Inner>, Call) -> F) -> Result<T, Diagnostic>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Diagnostic>> + Send + 'static,
    {
        let running = self.inner.lifetime.begin();
        let (access, cloud) = self.inner.access.read().unwrap_or_else(PoisonError::into_inner).clone();
        let call = Call {
            access,
            cloud,
            cancel: running.cancel.clone(),
        };
        let work = work(self.inner.clone(), call);
        let task = tokio::spawn(async move {
            let answer = panics::catch(rpc, work).await;
            drop(running);
            answer
        });
        match task.await {
            Ok(answer) => answer.and_then(|answer| answer),
            Err(error) => Err(Diagnostic::error(
                "Bug in the Myelin provider",
                format!("{rpc} was lost: {error}."),
            )),
        }
    }
}

impl Inner {
    fn resource(&self, type_name: &str) -> Result<&dyn Resource, Diagnostic> {
        self.resources.get(type_name).map(AsRef::as_ref).ok_or_else(|| {
            let known: Vec<&str> = self.resources.keys().copied().collect();
            Diagnostic::error(
                format!("There is no resource type {type_name}"),
                format!("This provider has: {}.", known.join(", ")),
            )
        })
    }
}

impl Inner {
    fn ephemeral(&self, type_name: &str) -> Result<&dyn Ephemeral, Diagnostic> {
        self.ephemerals.get(type_name).map(AsRef::as_ref).ok_or_else(|| {
            let known: Vec<&str> = self.ephemerals.keys().copied().collect();
            Diagnostic::error(
                format!("There is no ephemeral resource type {type_name}"),
                format!("This provider has: {}.", known.join(", ")),
            )
        })
    }
}

impl Inner {
    fn data(&self, type_name: &str) -> Result<&dyn DataSource, Diagnostic> {
        self.data.get(type_name).map(AsRef::as_ref).ok_or_else(|| {
            let known: Vec<&str> = self.data.keys().copied().collect();
            Diagnostic::error(
                format!("There is no data source {type_name}"),
                format!("This provider has: {}.", known.join(", ")),
            )
        })
    }
}

fn told(problem: Diagnostic) -> Vec<tf::Diagnostic> {
    Diagnostics::from(problem).to_wire()
}

const CAPABILITIES: tf::ServerCapabilities = tf::ServerCapabilities {
    plan_destroy: true,
    get_provider_schema_optional: true,
    move_resource_state: true,
    generate_resource_config: true,
};

#[tonic::async_trait]
impl provider_server::Provider for Provider {
    async fn get_metadata(&self, _: Request<tf::get_metadata::Request>) -> Answer<tf::get_metadata::Response> {
        let resources = self.inner.resources.keys();
        Ok(Response::new(tf::get_metadata::Response {
            server_capabilities: Some(CAPABILITIES),
            resources: resources
                .map(|name| tf::get_metadata::ResourceMetadata {
                    type_name: (*name).to_owned(),
                })
                .collect(),
            ephemeral_resources: self
                .inner
                .ephemerals
                .keys()
                .map(|name| tf::get_metadata::EphemeralMetadata {
                    type_name: (*name).to_owned(),
                })
                .collect(),
            data_sources: self
                .inner
                .data
                .keys()
                .map(|name| tf::get_metadata::DataSourceMetadata {
                    type_name: (*name).to_owned(),
                })
                .collect(),
            ..Default::default()
        }))
    }

    async fn get_provider_schema(
        &self,
        _: Request<tf::get_provider_schema::Request>,
    ) -> Answer<tf::get_provider_schema::Response> {
        let resources = self.inner.resources.iter();
        Ok(Response::new(tf::get_provider_schema::Response {
            provider: Some(self.inner.schema.to_wire()),
            resource_schemas: resources
                .map(|(name, resource)| ((*name).to_owned(), resource.schema().to_wire()))
                .collect(),
            ephemeral_resource_schemas: self
                .inner
                .ephemerals
                .iter()
                .map(|(name, ephemeral)| ((*name).to_owned(), ephemeral.schema().to_wire()))
                .collect(),
            data_source_schemas: self
                .inner
                .data
                .iter()
                .map(|(name, source)| ((*name).to_owned(), source.schema().to_wire()))
                .collect(),
            server_capabilities: Some(CAPABILITIES),
            ..Default::default()
        }))
    }

    async fn get_resource_identity_schemas(
        &self,
        _: Request<tf::get_resource_identity_schemas::Request>,
    ) -> Answer<tf::get_resource_identity_schemas::Response> {
        let resources = self.inner.resources.iter();
        Ok(Response::new(tf::get_resource_identity_schemas::Response {
            identity_schemas: resources
                .map(|(name, resource)| ((*name).to_owned(), resource.identity().to_wire()))
                .collect(),
            diagnostics: Vec::new(),
        }))
    }

    async fn validate_provider_config(
        &self,
        request: Request<tf::validate_provider_config::Request>,
    ) -> Answer<tf::validate_provider_config::Response> {
        let request = request.into_inner();
        let checked = self.run("ValidateProviderConfig", |inner, _| async move {
            let config = decode(&inner.schema.ty(), request.config.as_ref(), "provider configuration")?;
            let mut problems = check_configuration(&inner.schema, &config);
            if !problems.has_errors() {
                problems.extend(Configuration::check(&config));
            }
            Ok(problems.to_wire())
        });
        let diagnostics = checked.await.unwrap_or_else(told);
        Ok(Response::new(tf::validate_provider_config::Response { diagnostics }))
    }

    async fn configure_provider(
        &self,
        request: Request<tf::configure_provider::Request>,
    ) -> Answer<tf::configure_provider::Response> {
        let request = request.into_inner();
        let configured = self.run("ConfigureProvider", |inner, _| async move {
            let config = decode(&inner.schema.ty(), request.config.as_ref(), "provider configuration")?;
            // Nothing is dialled, nothing is read: what is unknown now may never be needed.
            let access = Arc::new(Access::new(Configuration::new(&config, &inner.environment)));
            let cloud = Arc::new(CloudAccess::new(AwsConfiguration::new(&config)));
            *inner.access.write().unwrap_or_else(PoisonError::into_inner) = (access, cloud);
            Ok(Vec::new())
        });
        let diagnostics = configured.await.unwrap_or_else(told);
        Ok(Response::new(tf::configure_provider::Response { diagnostics }))
    }

    async fn validate_resource_config(
        &self,
        request: Request<tf::validate_resource_config::Request>,
    ) -> Answer<tf::validate_resource_config::Response> {
        let request = request.into_inner();
        let checked = self.run("ValidateResourceConfig", |inner, _| async move {
            Ok(managed::validate(inner.resource(&request.type_name)?, &request)?.to_wire())
        });
        let diagnostics = checked.await.unwrap_or_else(told);
        Ok(Response::new(tf::validate_resource_config::Response { diagnostics }))
    }

    async fn validate_data_resource_config(
        &self,
        request: Request<tf::validate_data_resource_config::Request>,
    ) -> Answer<tf::validate_data_resource_config::Response> {
        let request = request.into_inner();
        let checked = self.run("ValidateDataResourceConfig", |inner, _| async move {
            Ok(data::validate(inner.data(&request.type_name)?, &request)?.to_wire())
        });
        let diagnostics = checked.await.unwrap_or_else(told);
        Ok(Response::new(tf::validate_data_resource_config::Response {
            diagnostics,
        }))
    }

    async fn read_data_source(
        &self,
        request: Request<tf::read_data_source::Request>,
    ) -> Answer<tf::read_data_source::Response> {
        let request = request.into_inner();
        let read = self.run("ReadDataSource", |inner, call| async move {
            data::read(inner.data(&request.type_name)?, &call, request.clone()).await
        });
        Ok(Response::new(read.await.unwrap_or_else(|problem| {
            tf::read_data_source::Response {
                diagnostics: told(problem),
                ..Default::default()
            }
        })))
    }

    async fn upgrade_resource_state(
        &self,
        request: Request<tf::upgrade_resource_state::Request>,
    ) -> Answer<tf::upgrade_resource_state::Response> {
        let request = request.into_inner();
        let upgraded = self.run("UpgradeResourceState", |inner, _| async move {
            managed::upgrade(inner.resource(&request.type_name)?, &request)
        });
        Ok(Response::new(upgraded.await.unwrap_or_else(|problem| {
            tf::upgrade_resource_state::Response {
                diagnostics: told(problem),
                ..Default::default()
            }
        })))
    }

    async fn upgrade_resource_identity(
        &self,
        request: Request<tf::upgrade_resource_identity::Request>,
    ) -> Answer<tf::upgrade_resource_identity::Response> {
        let request = request.into_inner();
        let upgraded = self.run("UpgradeResourceIdentity", |inner, _| async move {
            managed::upgrade_identity(inner.resource(&request.type_name)?, &request)
        });
        Ok(Response::new(upgraded.await.unwrap_or_else(|problem| {
            tf::upgrade_resource_identity::Response {
                diagnostics: told(problem),
                ..Default::default()
            }
        })))
    }

    async fn read_resource(&self, request: Request<tf::read_resource::Request>) -> Answer<tf::read_resource::Response> {
        let request = request.into_inner();
        let (state, private) = (request.current_state.clone(), request.private.clone());
        let read = self.run("ReadResource", |inner, call| async move {
            managed::read(inner.resource(&request.type_name)?, &call, request.clone()).await
        });
        Ok(Response::new(read.await.unwrap_or_else(|problem| {
            tf::read_resource::Response {
                new_state: state,
                private,
                diagnostics: told(problem),
                ..Default::default()
            }
        })))
    }

    async fn plan_resource_change(
        &self,
        request: Request<tf::plan_resource_change::Request>,
    ) -> Answer<tf::plan_resource_change::Response> {
        let request = request.into_inner();
        let planned = self.run("PlanResourceChange", |inner, call| async move {
            managed::plan(inner.resource(&request.type_name)?, &call, request.clone()).await
        });
        Ok(Response::new(planned.await.unwrap_or_else(|problem| {
            tf::plan_resource_change::Response {
                diagnostics: told(problem),
                ..Default::default()
            }
        })))
    }

    async fn apply_resource_change(
        &self,
        request: Request<tf::apply_resource_change::Request>,
    ) -> Answer<tf::apply_resource_change::Response> {
        let request = request.into_inner();
        let again = request.clone();
        let applied = self.run("ApplyResourceChange", |inner, call| async move {
            managed::apply(inner.resource(&request.type_name)?, &call, request.clone()).await
        });
        Ok(Response::new(match applied.await {
            Ok(answer) => answer,
            Err(problem) => match self.inner.resource(&again.type_name) {
                Ok(resource) => managed::after_panic(resource, &again, problem),
                Err(_) => tf::apply_resource_change::Response {
                    diagnostics: told(problem),
                    ..Default::default()
                },
            },
        }))
    }

    async fn import_resource_state(
        &self,
        request: Request<tf::import_resource_state::Request>,
    ) -> Answer<tf::import_resource_state::Response> {
        let request = request.into_inner();
        let imported = self.run("ImportResourceState", |inner, call| async move {
            managed::import(inner.resource(&request.type_name)?, &call, request.clone()).await
        });
        Ok(Response::new(imported.await.unwrap_or_else(|problem| {
            tf::import_resource_state::Response {
                diagnostics: told(problem),
                ..Default::default()
            }
        })))
    }

    async fn move_resource_state(
        &self,
        request: Request<tf::move_resource_state::Request>,
    ) -> Answer<tf::move_resource_state::Response> {
        let request = request.into_inner();
        let moved = self.run("MoveResourceState", |inner, _| async move {
            managed::moved(inner.resource(&request.target_type_name)?, request.clone())
        });
        Ok(Response::new(moved.await.unwrap_or_else(|problem| {
            tf::move_resource_state::Response {
                diagnostics: told(problem),
                ..Default::default()
            }
        })))
    }

    async fn generate_resource_config(
        &self,
        request: Request<tf::generate_resource_config::Request>,
    ) -> Answer<tf::generate_resource_config::Response> {
        let request = request.into_inner();
        let generated = self.run("GenerateResourceConfig", |inner, _| async move {
            managed::generate_config(inner.resource(&request.type_name)?, &request)
        });
        Ok(Response::new(generated.await.unwrap_or_else(|problem| {
            tf::generate_resource_config::Response {
                diagnostics: told(problem),
                ..Default::default()
            }
        })))
    }

    async fn validate_ephemeral_resource_config(
        &self,
        request: Request<tf::validate_ephemeral_resource_config::Request>,
    ) -> Answer<tf::validate_ephemeral_resource_config::Response> {
        let request = request.into_inner();
        let checked = self.run("ValidateEphemeralResourceConfig", |inner, _| async move {
            Ok(ephemeral::validate(inner.ephemeral(&request.type_name)?, &request)?.to_wire())
        });
        let diagnostics = checked.await.unwrap_or_else(told);
        Ok(Response::new(tf::validate_ephemeral_resource_config::Response {
            diagnostics,
        }))
    }

    async fn open_ephemeral_resource(
        &self,
        request: Request<tf::open_ephemeral_resource::Request>,
    ) -> Answer<tf::open_ephemeral_resource::Response> {
        let request = request.into_inner();
        let opened = self.run("OpenEphemeralResource", |inner, call| async move {
            ephemeral::open(inner.ephemeral(&request.type_name)?, &call, request.clone()).await
        });
        Ok(Response::new(opened.await.unwrap_or_else(|problem| {
            tf::open_ephemeral_resource::Response {
                diagnostics: told(problem),
                ..Default::default()
            }
        })))
    }

    async fn renew_ephemeral_resource(
        &self,
        _: Request<tf::renew_ephemeral_resource::Request>,
    ) -> Answer<tf::renew_ephemeral_resource::Response> {
        Ok(Response::new(tf::renew_ephemeral_resource::Response::default()))
    }

    async fn close_ephemeral_resource(
        &self,
        _: Request<tf::close_ephemeral_resource::Request>,
    ) -> Answer<tf::close_ephemeral_resource::Response> {
        Ok(Response::new(tf::close_ephemeral_resource::Response::default()))
    }

    async fn get_functions(&self, _: Request<tf::get_functions::Request>) -> Answer<tf::get_functions::Response> {
        Ok(Response::new(tf::get_functions::Response {
            functions: HashMap::new(),
            diagnostics: Vec::new(),
        }))
    }

    async fn stop_provider(&self, _: Request<tf::stop_provider::Request>) -> Answer<tf::stop_provider::Response> {
        self.inner.lifetime.stop_running();
        Ok(Response::new(tf::stop_provider::Response::default()))
    }
}
