//! The product against a real control plane and strict loopback clouds: one module for each
//! capability. Tests share the control plane; each has its own namespaces, clouds and operator.

mod admission;
mod agent;
mod agent_ca;
mod answers;
mod argo;
mod canary;
mod chart;
mod drill;
mod everywhere;
mod examples;
mod faults;
mod forged;
mod granted;
mod identities;
mod keyring;
mod lifecycle;
mod local;
mod malformed;
mod memory;
mod onboard;
mod ownership;
mod policies;
mod quiet;
mod readme;
mod requests;
mod reviews;
mod revoked;
mod rights;
mod risk;
mod seen;
mod status;
mod story;
mod support;
mod takeover;
mod unwritable;
