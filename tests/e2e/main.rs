//! The product against a real control plane and strict loopback clouds: one module for each
//! capability. Tests share the control plane; each has its own namespaces, clouds and operator.

mod admission;
mod answers;
mod story;
mod support;
