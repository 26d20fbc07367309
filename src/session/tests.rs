use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::api::{ProviderKind, TenantKmsSpec};
use crate::clock::Moment;
use crate::provider::{TenantId, Wrapped};
use crate::record::keyring::wrapping::Opened;
use crate::record::keyring::{Kek, KeyId, Keyring, Locked, MasterKey};
use crate::record::{Applied, Record};

mod waiting;

const UID: &str = "00112233445566778899aabbccddeeff";
const KEY: &str = "https://acme-kv.vault.azure.net/keys/k";

pub fn at(boot: u64, wall: u64) -> Moment {
    Moment {
        boot: Duration::from_secs(boot),
        wall: Duration::from_secs(1_000_000 + wall),
    }
}

pub fn id() -> TenantId {
    TenantId::new("tenants", "acme")
}

pub fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn locked(byte: u8) -> Locked {
    let id = KeyId::random().expect("random");
    let key = MasterKey::random().expect("random");
    Locked {
        commitment: key.commitment(UID, &id),
        id,
        wrapped: Wrapped {
            ciphertext: vec![byte],
            kek_version: "1".to_owned(),
        },
    }
}

fn opened(locked: &Locked) -> Opened {
    Opened {
        id: locked.id.clone(),
        key: MasterKey::random().expect("random"),
        key_id: KEY.to_owned(),
        wrapped: locked.wrapped.clone(),
    }
}

fn record(keyring: Keyring, provider: ProviderKind) -> Record {
    let record = Record::restored(&id(), UID, "ns", 3, keyring);
    let mut spec = TenantKmsSpec::new(provider, KEY);
    spec.verify = Some(Box::new(crate::api::VerifySpec {
        proof_ttl: Some("1m".to_owned()),
        ..crate::api::VerifySpec::default()
    }));
    Record {
        applied: Some(Applied {
            spec,
            object_uid: "object".to_owned(),
            generation: 1,
        }),
        claim: (provider != ProviderKind::Local).then(|| KEY.to_owned()),
        ..record
    }
}

fn kek() -> Kek {
    Kek {
        provider: ProviderKind::Azure,
        key_id: KEY.to_owned(),
        version: "1".to_owned(),
    }
}

/// A tenant with one key, and the same after a rotation.
fn rotated() -> (Locked, Record, Locked, Record) {
    let (one, two) = (locked(1), locked(2));
    let first = Keyring::begin(None, kek(), one.clone(), time(0));
    let second = first.rotate(None, two.clone(), time(1)).expect("room");
    (
        one,
        record(first, ProviderKind::Azure),
        two,
        record(second, ProviderKind::Azure),
    )
}

fn hold(record: &Record, locked: &Locked, proof: Moment) -> Hold {
    Hold::new(record, opened(locked), proof).expect("the active one")
}

#[test]
fn a_key_is_gone_when_its_proof_is_too_old_on_either_clock_or_the_clocks_disagree() {
    for (then, kept) in [
        (at(69, 69), true),
        (at(70, 70), false),
        (at(66, 71), false),
        (at(71, 66), false),
        (at(20, 26), false),
    ] {
        let (held, (one, record, ..)) = (Held::default(), rotated());
        held.hold(&id(), hold(&record, &one, at(10, 10)));
        assert_eq!(held.get(&id(), then).is_some(), kept, "{then:?}");
        held.sweep(then);
        assert_eq!(held.len(), usize::from(kept), "{then:?}");
    }
}

#[test]
fn a_process_that_stood_still_serves_nothing_that_should_have_been_proved_meanwhile() {
    for (last, wakes, kept) in [
        (20, 60, false),
        (20, 25, true),
        (38, 44, true),
        (30, 45, false),
    ] {
        let (held, (one, record, ..)) = (Held::default(), rotated());
        held.hold(&id(), hold(&record, &one, at(10, 10)));
        held.sweep(at(last, last));
        let now = at(wakes, wakes);
        let stopped = wakes - last > 5;
        assert_eq!(held.get(&id(), now).is_none(), stopped, "{last} {wakes}");
        held.sweep(now);
        assert_eq!(held.get(&id(), now).is_some(), kept, "{last} {wakes}");
        for second in wakes..=46 {
            held.sweep(at(second, second));
        }
        let still = held.get(&id(), at(46, 46)).is_some();
        assert_eq!(still, kept && !stopped, "{last} {wakes}");
    }
    // Late for another reason: nobody had an answer, and the proof is still good.
    let (held, (one, record, ..)) = (Held::default(), rotated());
    held.hold(&id(), hold(&record, &one, at(10, 10)));
    for second in 10..69 {
        held.sweep(at(second, second));
        assert!(held.get(&id(), at(second, second)).is_some(), "{second}");
    }
}

#[test]
fn a_shorter_ttl_holds_for_the_proof_there_is() {
    let (held, (one, record, ..)) = (Held::default(), rotated());
    let mut before = record.clone();
    let timing = &mut before.applied.as_mut().expect("applied").spec.verify;
    timing.as_mut().expect("verify").proof_ttl = Some("5m".to_owned());
    held.hold(&id(), hold(&before, &one, at(10, 10)));
    assert!(held.get(&id(), at(80, 80)).is_some());
    assert_eq!(held.settle(&id(), &record), Some(true));
    assert!(held.get(&id(), at(80, 80)).is_none());
}

#[test]
fn wiping_leaves_nothing() {
    let (held, (one, record, ..)) = (Held::default(), rotated());
    held.hold(&id(), hold(&record, &one, at(10, 10)));
    held.wipe(&id());
    assert!(held.is_empty());
}

#[test]
fn a_former_key_stays_open_over_a_rotation_and_goes_when_it_is_erased() {
    let (held, (one, before, two, after)) = (Held::default(), rotated());
    held.hold(&id(), hold(&before, &one, at(10, 10)));
    let first = held.get(&id(), at(10, 10)).expect("held");
    assert!(first.use_version(&one.id, at(10, 10)).is_some());
    held.hold(&id(), hold(&after, &two, at(11, 11)));
    let now = held.get(&id(), at(12, 12)).expect("held");
    assert_eq!(now.active().id(), &two.id);
    assert!(now.version(&one.id).is_some());
    assert_eq!(now.standing(&one.id), Some(Standing::Live));

    let keyring = after.keyring.as_ref().expect("a keyring");
    let erased = keyring.erase(&[one.id.to_string()], time(1_000)).changed;
    let erased = record(erased.expect("changed"), ProviderKind::Azure);
    assert_eq!(held.settle(&id(), &erased), Some(true));
    let now = held.get(&id(), at(12, 12)).expect("held");
    assert!(now.version(&one.id).is_none());
    assert_eq!(now.standing(&one.id), Some(Standing::Erased));
    assert!(held.add(&id(), UID, opened(&one)).is_none());
}

#[test]
fn a_former_key_that_nobody_uses_is_not_kept() {
    let (held, (one, before, two, after)) = (Held::default(), rotated());
    held.hold(&id(), hold(&before, &one, at(10, 10)));
    held.hold(&id(), hold(&after, &two, at(11, 11)));
    let first = held.get(&id(), at(12, 12)).expect("held");
    assert!(first.version(&one.id).is_none());
    held.add(&id(), UID, opened(&one)).expect("a live one");
    let now = held.get(&id(), at(12, 12)).expect("held");
    now.use_version(&one.id, at(12, 12)).expect("open");
    for (proof, kept) in [(at(71, 71), true), (at(72, 72), false)] {
        held.hold(&id(), hold(&after, &two, proof));
        let now = held.get(&id(), proof).expect("held");
        assert_eq!(now.version(&one.id).is_some(), kept, "{proof:?}");
    }
}

#[test]
fn only_the_tenants_own_live_versions_under_the_proved_key_are_added() {
    let (held, (one, _, two, after)) = (Held::default(), rotated());
    held.hold(&id(), hold(&after, &two, at(10, 10)));
    let foreign = locked(9);
    let other_version = Locked {
        wrapped: Wrapped {
            kek_version: "2".to_owned(),
            ..one.wrapped.clone()
        },
        ..one.clone()
    };
    assert!(held.add(&id(), "another uid", opened(&one)).is_none());
    assert!(held.add(&id(), UID, opened(&foreign)).is_none());
    assert!(held.add(&id(), UID, opened(&other_version)).is_none());
    assert!(held.add(&id(), UID, opened(&one)).is_some());
    let now = held.get(&id(), at(12, 12)).expect("held");
    assert!(now.version(&one.id).is_some());
    held.wipe(&id());
    assert!(held.add(&id(), UID, opened(&one)).is_none(), "sealed since");
}

#[test]
fn what_is_held_fits_no_other_active_key_epoch_or_tenant() {
    let (held, (one, before, _, after)) = (Held::default(), rotated());
    held.hold(&id(), hold(&before, &one, at(10, 10)));
    let later = Record {
        seal_epoch: 4,
        ..before.clone()
    };
    let other = Record {
        tenant_uid: "another".to_owned(),
        ..before.clone()
    };
    assert_eq!(held.settle(&id(), &before), Some(true));
    for another in [&after, &later, &other] {
        assert_eq!(held.settle(&id(), another), Some(false));
    }
    assert!(Hold::new(&after, opened(&one), at(10, 10)).is_none());
}

#[test]
fn a_session_ends_with_its_proof_where_the_customer_brings_the_key() {
    let (one, byok, ..) = rotated();
    let held = hold(&byok, &one, at(10, 10));
    assert_eq!(held.session(at(10, 10)).as_secs(), 60);
    assert_eq!(held.session(at(30, 30)).as_secs(), 40);
    assert_eq!(held.session(at(30, 32)).as_secs(), 38);
    assert_eq!(held.session(at(90, 90)).as_secs(), 0);
    let keyring = byok.keyring.clone().expect("a keyring");
    let standard = record(keyring, ProviderKind::Local);
    let held = hold(&standard, &one, at(10, 10));
    assert_eq!(held.session(at(30, 30)).as_secs(), 3600);
}
