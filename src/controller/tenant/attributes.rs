//! When the key's attributes were read, and what was read: hourly, and with a new spec. Pure, and
//! never a reason for anything but the condition `KeyAtRisk`.

use std::time::Duration;

use super::{Reading, Tenant};
use crate::clock::Moment;
use crate::provider::Kind;
use crate::seal::{Seal, State};

const HOURLY: Duration = Duration::from_hours(1);

#[derive(Debug, Default)]
pub(super) struct Known {
    /// When it was tried last.
    tried: Option<Moment>,
    reading: Option<Reading>,
}

impl Known {
    /// Another spec is in force; `reading` came with its proof.
    pub(super) fn another_key(&mut self, reading: Option<Reading>, now: Moment) {
        *self = Self {
            tried: reading.is_some().then_some(now),
            reading,
        };
    }

    pub(super) fn reading(&self) -> Option<&Reading> {
        self.reading.as_ref()
    }
}

impl Tenant {
    /// Whether the attributes of the key in force should be read now: after a success only.
    pub fn wants_attributes(&self, now: Moment) -> bool {
        let active = self.seal.as_ref().map(Seal::state) == Some(&State::Active);
        let due = |tried: Moment| now.since(tried) >= HOURLY;
        active && self.last_success.is_some() && self.known.tried.is_none_or(due)
    }

    /// Takes what was read. No answer leaves what was known before.
    pub fn read(&mut self, reading: Reading, now: Moment) {
        self.known.tried = Some(now);
        let silent = reading.as_ref().is_err_and(|f| f.kind == Kind::Transient);
        if !silent || self.known.reading.is_none() {
            self.known.reading = Some(reading);
        }
    }
}
