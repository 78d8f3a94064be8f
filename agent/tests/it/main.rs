//! The agent as a program, on one machine: real processes on loopback addresses, against a model of EC2 and its metadata services.

mod drains;
mod harness;
mod identity;
mod supervision;
mod workload;
