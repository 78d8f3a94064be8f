//! A cluster that counts requests and passes them on to another.
//!
//! A list counts as one request, however many pages it has.

use futures::stream::BoxStream;
use myelin_engine::cluster::{
    Answer, Cluster, ClusterError, CommandOutput, List, Mode, PodCommand, Precondition, Propagation, Resource,
    Selection, ServiceAnswer, ServiceRequest, Target, WatchEvent,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A cluster and the number of requests to it, by verb.
pub(crate) struct Counting<C> {
    inner: C,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl<C> Counting<C> {
    /// Counts from zero.
    pub(crate) fn new(inner: C) -> Self {
        Self {
            inner,
            counts: Mutex::default(),
        }
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.by_verb().values().sum()
    }

    /// Requests so far, by verb.
    pub(crate) fn by_verb(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, verb: &'static str) -> &C {
        *self
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(verb)
            .or_default() += 1;
        &self.inner
    }
}

impl<C: Cluster> Cluster for Counting<C> {
    fn discover<'a>(&'a self, api_version: &'a str) -> Answer<'a, Option<Vec<Resource>>> {
        self.count("discover").discover(api_version)
    }

    fn get<'a>(&'a self, target: &'a Target) -> Answer<'a, Option<Value>> {
        self.count("get").get(target)
    }

    fn list<'a>(&'a self, resource: &'a Resource, selection: &'a Selection) -> Answer<'a, List> {
        self.count("list").list(resource, selection)
    }

    fn apply_as<'a>(
        &'a self,
        manager: &'a str,
        target: &'a Target,
        body: &'a Value,
        force: bool,
        mode: Mode,
    ) -> Answer<'a, Value> {
        self.count("apply").apply_as(manager, target, body, force, mode)
    }

    fn create<'a>(&'a self, target: &'a Target, body: &'a Value, mode: Mode) -> Answer<'a, Value> {
        self.count("create").create(target, body, mode)
    }

    fn update<'a>(&'a self, target: &'a Target, body: &'a Value) -> Answer<'a, Value> {
        self.count("update").update(target, body)
    }

    fn json_patch<'a>(&'a self, target: &'a Target, patch: &'a Value, mode: Mode) -> Answer<'a, Value> {
        self.count("patch").json_patch(target, patch, mode)
    }

    fn delete<'a>(
        &'a self,
        target: &'a Target,
        precondition: &'a Precondition,
        propagation: Propagation,
        mode: Mode,
    ) -> Answer<'a, ()> {
        self.count("delete").delete(target, precondition, propagation, mode)
    }

    fn watch<'a>(
        &'a self,
        resource: &'a Resource,
        selection: &'a Selection,
        resource_version: &'a str,
    ) -> Answer<'a, BoxStream<'static, Result<WatchEvent, ClusterError>>> {
        self.count("watch").watch(resource, selection, resource_version)
    }

    fn logs<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        container: &'a str,
        previous: bool,
        lines: u32,
    ) -> Answer<'a, String> {
        self.count("logs").logs(namespace, pod, container, previous, lines)
    }

    fn exec<'a>(&'a self, command: &'a PodCommand, stdin: Option<&'a [u8]>) -> Answer<'a, CommandOutput> {
        self.count("exec").exec(command, stdin)
    }

    fn ask_service<'a>(&'a self, request: &'a ServiceRequest) -> Answer<'a, ServiceAnswer> {
        self.count("proxy").ask_service(request)
    }
}
