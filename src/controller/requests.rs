//! Requests by annotation: a new value of `tenantkms.dev/verify-requested-at` or
//! `…/unseal-requested-at` asks for an attempt now. At most one per 5 s is begun; newer values
//! that arrive meanwhile are answered together. Pure.

use std::time::Duration;

use aws_lc_rs::digest;

use super::object::Meta;
use crate::api::HandledRequests;
use crate::clock::Moment;
use crate::provider::Code;
use crate::random::encode_hex;

pub const VERIFY: &str = "tenantkms.dev/verify-requested-at";
pub const UNSEAL: &str = "tenantkms.dev/unseal-requested-at";
pub const ROTATE: &str = "tenantkms.dev/rotate-requested-at";
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default)]
pub struct Asked {
    verify: Slot,
    unseal: Slot,
    begun: Option<Moment>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// The value that is asked for and not yet carried out.
    pending: Option<String>,
    /// The pending value for which an attempt was asked.
    begun: Option<String>,
    /// The newest value that was carried out and may not be on record yet.
    done: Option<String>,
}

impl Slot {
    fn observe(&mut self, value: Option<String>, handled: Option<&String>) {
        let known = self.done.as_ref().or(handled);
        self.pending = value.filter(|value| Some(value) != known);
    }

    fn begin(&mut self) -> bool {
        let new = self.pending.is_some() && self.pending != self.begun;
        if new {
            self.begun.clone_from(&self.pending);
        }
        new
    }

    fn carried_out(&mut self) {
        if let Some(value) = self.begun.take() {
            if self.pending.as_ref() == Some(&value) {
                self.pending = None;
            }
            self.done = Some(value);
        }
    }
}

impl Asked {
    /// Looks at the annotations; true when an attempt is to be made now.
    pub fn observe(&mut self, object: &Meta, handled: &HandledRequests, now: Moment) -> bool {
        let value = |name| object.annotations.get(name).map(harmless);
        self.verify
            .observe(value(VERIFY), handled.verify_requested_at.as_ref());
        self.unseal
            .observe(value(UNSEAL), handled.unseal_requested_at.as_ref());
        if self.begun.is_some_and(|begun| now.since(begun) < PAUSE) {
            return false;
        }
        let begin = self.verify.begin() | self.unseal.begin();
        if begin {
            self.begun = Some(now);
        }
        begin
    }

    /// Whether an attempt was asked for that has no answer yet.
    pub fn is_waiting(&self) -> bool {
        self.verify.begun.is_some() || self.unseal.begun.is_some()
    }

    pub fn unseal_pending(&self) -> bool {
        self.unseal.begun.is_some()
    }

    /// An attempt that was begun at `started` has its answer.
    pub fn carried_out(&mut self, started: Moment) {
        if self.begun.is_some_and(|begun| started.boot >= begun.boot) {
            self.verify.carried_out();
            self.unseal.carried_out();
        }
    }

    /// What the record should say.
    pub fn handled(&self, recorded: &HandledRequests) -> HandledRequests {
        let newer = |slot: &Slot, old: &Option<String>| slot.done.clone().or_else(|| old.clone());
        HandledRequests {
            verify_requested_at: newer(&self.verify, &recorded.verify_requested_at),
            unseal_requested_at: newer(&self.unseal, &recorded.unseal_requested_at),
            rotate_requested_at: recorded.rotate_requested_at.clone(),
        }
    }

    /// How long until a request that waits for its turn may be begun.
    pub fn next(&self, now: Moment) -> Option<Duration> {
        let waits = |slot: &Slot| slot.pending.is_some() && slot.pending != slot.begun;
        (waits(&self.verify) || waits(&self.unseal)).then(|| {
            self.begun.map_or(Duration::ZERO, |begun| {
                PAUSE.saturating_sub(now.since(begun))
            })
        })
    }
}

/// The value that asks for another master key. Rotations are counted apart: one per hour.
pub fn rotation(object: &Meta) -> Option<String> {
    object.annotations.get(ROTATE).map(harmless)
}

/// The value itself when it is a plain time stamp or word, else a digest: what stands in an
/// annotation is anybody's text, and the record and status repeat it.
fn harmless(value: &str) -> String {
    let plain = value.replace('+', ".");
    if Code::vet(&plain).is_some() {
        return value.to_owned();
    }
    let hash = digest::digest(&digest::SHA256, value.as_bytes());
    format!("sha256:{}", encode_hex(&hash.as_ref()[..16]))
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;

    use super::*;
    use crate::api::{ProviderKind, TenantKms, TenantKmsSpec};
    use crate::controller::object::tests::watched;

    fn at(seconds: u64) -> Moment {
        Moment {
            boot: Duration::from_secs(seconds),
            wall: Duration::from_secs(1_000_000 + seconds),
        }
    }

    fn object(value: &str) -> Meta {
        let mut object = TenantKms::new("acme", TenantKmsSpec::new(ProviderKind::Azure, "k"));
        object
            .annotations_mut()
            .insert(VERIFY.to_owned(), value.to_owned());
        watched(&object).meta
    }

    #[test]
    fn a_new_value_is_carried_out_once() {
        let (mut asked, none) = (Asked::default(), HandledRequests::default());
        assert!(asked.observe(&object("one"), &none, at(1)));
        assert!(
            !asked.observe(&object("one"), &none, at(9)),
            "already begun"
        );
        asked.carried_out(at(1));
        let handled = asked.handled(&none);
        assert_eq!(handled.verify_requested_at.as_deref(), Some("one"));
        assert!(!asked.observe(&object("one"), &handled, at(20)));
        let mut restarted = Asked::default();
        assert!(!restarted.observe(&object("one"), &handled, at(30)));
    }

    #[test]
    fn requests_are_coalesced_to_one_per_five_seconds() {
        let (mut asked, none) = (Asked::default(), HandledRequests::default());
        assert!(asked.observe(&object("one"), &none, at(1)));
        asked.carried_out(at(1));
        assert!(!asked.observe(&object("two"), &none, at(2)));
        assert!(!asked.observe(&object("three"), &none, at(3)));
        assert_eq!(asked.next(at(4)), Some(Duration::from_secs(2)));
        assert!(asked.observe(&object("three"), &none, at(6)));
        asked.carried_out(at(6));
        let handled = asked.handled(&none);
        assert_eq!(handled.verify_requested_at.as_deref(), Some("three"));
    }

    #[test]
    fn an_answer_to_an_older_attempt_carries_nothing_out() {
        let (mut asked, none) = (Asked::default(), HandledRequests::default());
        assert!(asked.observe(&object("one"), &none, at(10)));
        asked.carried_out(at(9));
        assert_eq!(asked.handled(&none), none);
    }

    #[test]
    fn strange_values_are_digested() {
        assert_eq!(
            harmless("2026-11-24T10:00:00+01:00"),
            "2026-11-24T10:00:00+01:00"
        );
        assert!(harmless("\u{1b}[31m<b>").starts_with("sha256:"));
    }
}
