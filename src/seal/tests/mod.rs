//! The seal rules as scenarios, one file per rule, and as properties over random histories. Every
//! one of them runs in a `World` that an oracle watches.

#![allow(clippy::unchecked_time_subtraction)] // a negative time is a mistake of the test: panic

mod denial;
mod oracle;
mod outage;
mod proofs;
mod properties;
mod sealed;
mod stopped;
mod world;

pub(super) use world::{Cloud, World, minutes, seconds};
