//! The engine: document, render, graph, plan, apply, record. See ARCHITECTURE.md for the reading order.

pub mod diagnostic;
pub mod object;

pub mod mask;

pub mod yaml;

pub mod document;

pub mod graph;

pub mod desired;

pub mod cluster;

pub mod record;

pub mod observe;

pub mod plan;

pub mod apply;
