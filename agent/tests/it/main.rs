//! The agent as a program, on one machine: real processes on loopback addresses, against a model of EC2 and its metadata services.

mod account;
mod bench;
mod boot;
mod clusters;
mod drains;
mod fronts;
mod harness;
mod identity;
mod limits;
mod namespaces;
mod policy;
mod pools;
mod roles;
mod simulation;
mod supervision;
mod unit;
mod workload;
