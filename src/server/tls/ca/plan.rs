//! What becomes of the authorities, as a function of what is stored and the time: nothing here does
//! I/O. A client trusts what it has mounted, which follows the published bundle late; so a new
//! authority is published a day before it issues anything, and a former one until it expires.

use jiff::{SignedDuration, Timestamp};

use super::authority::Authority;
use crate::server::tls::pair::Validity;

/// From being published to issuing. The kubelet takes two minutes to update a mount; whoever reads
/// the bundle at the start of a daily job takes a day.
pub const SETTLE: SignedDuration = SignedDuration::from_hours(24);
/// An authority this near to its end gives way to one that could not be published everywhere.
pub const LAST: SignedDuration = SignedDuration::from_hours(30 * 24);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What stays, newest first; also what clients are to trust.
    pub authorities: Vec<Authority>,
    /// Whether a new one belongs before them.
    pub make: bool,
    /// Whether what is stored is something else.
    pub changed: bool,
    /// The place of the one that issues now.
    issuer: Option<usize>,
    /// How long this holds.
    pub holds: SignedDuration,
}

impl Plan {
    pub fn issuer(&self) -> Option<&Authority> {
        self.authorities.get(self.issuer?)
    }

    /// What clients are to trust, in PEM.
    pub fn bundle(&self) -> String {
        let certificates = self
            .authorities
            .iter()
            .map(|one| one.certificate.trim_end());
        certificates.flat_map(|one| [one, "\n"]).collect()
    }
}

/// `stored` is newest first.
pub fn plan(stored: &[Authority], now: Timestamp) -> Plan {
    let mut authorities: Vec<Authority> = stored
        .iter()
        .filter(|one| now < one.validity.until)
        .cloned()
        .collect();
    let issuer = issuer(&authorities, now);
    // A newer one has taken over for good: what cannot issue any more cannot be stolen.
    for former in authorities
        .iter_mut()
        .skip(issuer.map_or(usize::MAX, |at| at + 1))
    {
        former.key = None;
    }
    let newest = authorities.first().filter(|one| one.key.is_some());
    let make = newest.is_none_or(|one| half(one.validity) <= now);
    let holds = changes(&authorities, now)
        .filter(|at| now < *at)
        .map(|at| at.duration_since(now))
        .min();
    Plan {
        changed: make || authorities != stored,
        make,
        issuer,
        holds: holds.unwrap_or(SignedDuration::ZERO),
        authorities,
    }
}

/// The newest that clients have had time to learn of. While there is none (the first one ever, or
/// nothing could be published) the oldest: most clients know it. At its end the newest, come what may.
fn issuer(authorities: &[Authority], now: Timestamp) -> Option<usize> {
    let able: Vec<usize> = (0..authorities.len())
        .filter(|at| authorities[*at].key.is_some())
        .collect();
    let settled = able.iter().find(|at| {
        let published = authorities[**at].published;
        published.is_some_and(|published| SETTLE <= now.duration_since(published))
    });
    let known = *settled.or(able.last())?;
    let rest = authorities[known].validity.until.duration_since(now);
    if rest <= LAST {
        able.first().copied()
    } else {
        Some(known)
    }
}

/// When a plan may become another.
fn changes(authorities: &[Authority], now: Timestamp) -> impl Iterator<Item = Timestamp> {
    let later = move |at: Timestamp, by| at.saturating_add(by).unwrap_or(now);
    authorities.iter().flat_map(move |one| {
        let until = one.validity.until;
        let settled = one.published.map(|at| later(at, SETTLE));
        [
            Some(half(one.validity)),
            Some(later(until, -LAST)),
            Some(until),
            settled,
        ]
        .into_iter()
        .flatten()
    })
}

fn half(validity: Validity) -> Timestamp {
    let life = validity.until.duration_since(validity.from);
    validity
        .from
        .saturating_add(life / 2)
        .unwrap_or(validity.until)
}

/// Whether a certificate is to be replaced by a new one: two thirds of its life are over, or the
/// clock was set back to before it.
pub fn renewable(leaf: Validity, now: Timestamp) -> bool {
    let life = leaf.until.duration_since(leaf.from);
    let age = now.duration_since(leaf.from);
    age.is_negative() || life / 3 * 2 <= age
}

/// `stored` after all of it has been published.
pub fn published(stored: &[Authority], now: Timestamp) -> Vec<Authority> {
    let marked = |one: &Authority| Authority {
        published: one.published.or(Some(now)),
        ..one.clone()
    };
    stored.iter().map(marked).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
