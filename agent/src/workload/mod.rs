//! The workload: its health checks ([`check`]), when it is restarted ([`restart`], pure), and its supervision
//! ([`supervise`]).

pub mod check;
pub mod restart;
pub mod supervise;
