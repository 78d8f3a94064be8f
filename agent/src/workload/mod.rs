//! The workload: how its health is asked ([`check`]), when it is started again ([`restart`], pure), and who does so ([`supervise`]).

pub mod check;
pub mod restart;
pub mod supervise;
