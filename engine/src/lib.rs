//! The engine: document, render, graph, plan, apply, record. See ARCHITECTURE.md for the reading order.

pub mod diagnostic;
pub mod origin;

pub mod object;

pub mod mask;

pub mod yaml;

pub mod tree;

pub mod render;

pub mod token;

pub mod document;

pub mod graph;

pub mod desired;

pub mod clock;

pub mod cluster;

pub mod cloud;

pub mod record;

pub mod observe;

pub mod plan;

pub mod gate;

pub mod apply;

pub mod fleet;
