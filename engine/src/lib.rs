//! The engine: document, render, graph, plan, apply, record. See ARCHITECTURE.md for the reading order.
