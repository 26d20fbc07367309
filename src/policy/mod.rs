//! The operator's configuration file: who may use which of the platform's credentials, for what.
//! Default deny. Nothing here reads a credential or talks to a cloud.

mod file;
pub mod pattern;

mod grants;
mod variable;
mod watch;

pub(crate) use file::without_values;
pub use file::{API_VERSION, Invalid, KIND, parse};
pub use grants::{Limits, OwnAzure, Policy};
pub use variable::{AllowedVariable, is_variable_name};
pub use watch::{DEFAULT_PATH, Watched, load, watch};

#[cfg(test)]
mod tests;
