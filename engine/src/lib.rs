//! The engine: document, render, graph, plan, apply, record. See ARCHITECTURE.md for the reading order.

pub mod diagnostic;
pub mod object;
pub mod yaml;
