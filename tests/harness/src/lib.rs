//! Starts what the product runs against in tests, demo and benches: a real
//! control plane, the loopback clouds, and the operator as its own process.
//! It must never listen beyond loopback, touch a process it did not start, or
//! leave one behind, however the test ends.

mod access;
mod binary;
mod chart;
mod control;
mod customer;
mod env;
mod guarded;
mod heartbeat;
mod kek;
pub mod node;
mod object;
mod operator;
mod orders;
mod retired;
pub mod search;
mod supervisor;
mod tools;
mod ways;
mod workload;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

pub use access::access;
pub use binary::binaries;
pub use control::{Component, ControlPlane};
pub use customer::{Cloud, Customer, Identity, Words, merge};
pub use env::{Env, Names};
pub use guarded::Guarded;
pub use heartbeat::say;
pub use operator::{Operator, OperatorOptions};
pub use orders::Orders;
pub use tools::Output;
pub use ways::{Connection, Tap, Ways};
pub use workload::{Agent, Answer, Workload};

/// The repository's root folder, where `crds/`, `charts/` and `examples/` are.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The YAML document of an example, such as `aws-role/tenant.yaml`.
pub fn example(file: &str) -> Result<Value> {
    let path = repository().join("examples").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| file.to_owned())?;
    serde_yaml_ng::from_str(&text).with_context(|| file.to_owned())
}

/// The last lines of a log file, for a message; empty when there is none.
fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
