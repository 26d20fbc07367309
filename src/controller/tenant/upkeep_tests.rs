//! When a rotation is due, and whom it wakes.

use super::*;
use crate::api::{ProviderKind, Reason, TenantKms, TenantKmsSpec};
use crate::controller::object::tests::watched;
use crate::controller::tenant::{Stored, Success};
use crate::provider::{TenantId, Wrapped};
use crate::record::Applied;
use crate::record::keyring::wrapping::Opened;
use crate::record::keyring::{Kek, KeyId, Locked, MasterKey};
use crate::record::store::Version;

fn at(seconds: u64) -> Moment {
    Moment {
        boot: Duration::from_secs(seconds),
        wall: Duration::from_secs(1_800_000_000 + seconds),
    }
}

fn kek() -> Kek {
    Kek {
        provider: ProviderKind::Azure,
        key_id: "k".to_owned(),
        version: "1".to_owned(),
    }
}

fn minted(tenant_uid: &str) -> Locked {
    let (id, key) = (KeyId::random(), MasterKey::random().expect("random"));
    let id = id.expect("random");
    Locked {
        commitment: key.commitment(tenant_uid, &id),
        id,
        wrapped: Wrapped {
            ciphertext: vec![1],
            kek_version: "1".to_owned(),
        },
    }
}

/// A tenant with a master key made at `at(0)`, for which a rotation was asked.
fn asked() -> Tenant {
    let (id, spec) = (
        TenantId::new("tenants", "acme"),
        TenantKmsSpec::new(ProviderKind::Azure, "k"),
    );
    let mut record = Record::new(&id, "ns").expect("random");
    let minted = minted(&record.tenant_uid);
    record.applied = Some(Applied {
        spec: spec.clone(),
        object_uid: "uid".to_owned(),
        generation: 1,
    });
    let record = record.with_keyring(Keyring::begin(None, kek(), minted, at(0).timestamp()));
    let version = Version("1".to_owned());
    let mut tenant = Tenant::new(id, "uid".into());
    tenant.take_record(Stored { record, version }, at(1));
    let mut object = TenantKms::new("acme", spec);
    object.metadata.annotations =
        Some([("tenantkms.dev/rotate-requested-at".into(), "1".into())].into());
    tenant.observe(&watched(&object), at(1));
    tenant
}

fn check(tenant: &mut Tenant, seconds: u64, answer: Result<Success, Failure>) {
    let now = at(seconds);
    tenant.tick(now, 0.0);
    let seal = tenant.seal_mut().expect("a seal");
    seal.request(now, false);
    let attempt = seal.begin(now);
    tenant.checked(attempt, answer, now, 0.0);
}

#[test]
fn a_rotation_that_is_due_wakes_an_active_tenant_and_no_sealed_one() {
    let mut tenant = asked();
    assert_eq!(tenant.next_rotation(at(2)), None, "not proved yet");
    let success = Success {
        kek_version: "1".to_owned(),
        identity: "me".to_owned(),
    };
    check(&mut tenant, 2, Ok(success.clone()));
    assert_eq!(
        tenant.next_rotation(at(2)),
        Some(Duration::from_secs(3_598))
    );
    assert_eq!(tenant.rotation_due(at(2)), None, "one per hour");
    check(&mut tenant, 3_600, Ok(success));
    assert_eq!(tenant.next_rotation(at(3_600)), Some(Duration::ZERO));
    let due = tenant.rotation_due(at(3_600)).expect("due");
    assert_eq!((due.why, due.asked.as_deref()), (Why::Asked, Some("1")));
    for seconds in [3_601, 3_603] {
        let no = Failure::denial(Reason::AccessDenied, "no");
        check(&mut tenant, seconds, Err(no));
        assert_eq!(tenant.rotation_due(at(seconds)), None);
        assert_eq!(
            tenant.next_rotation(at(seconds)),
            None,
            "nothing to wake for"
        );
    }
}

#[test]
fn a_master_key_that_was_just_rotated_away_is_erased_when_nobody_can_be_using_it() {
    let mut tenant = asked();
    let success = Success {
        kek_version: "1".to_owned(),
        identity: "me".to_owned(),
    };
    check(&mut tenant, 3_600, Ok(success));
    let rotation = tenant.rotation_due(at(3_600)).expect("due");
    let before = tenant.stored.as_ref().expect("stored").record.clone();
    let old = before.keyring.as_ref().and_then(Keyring::active);
    let old = old.expect("active").id.to_string();
    tenant.upkeep.observe(None, None, &[old]);
    let minted = minted(&before.tenant_uid);
    let opened = Opened {
        id: minted.id.clone(),
        key: MasterKey::random().expect("random"),
        key_id: "k".to_owned(),
        wrapped: minted.wrapped.clone(),
    };
    let rotated = Rotated {
        kek: kek(),
        minted,
        rewrapped: None,
        opened,
    };
    tenant.rotated(rotation, Ok(rotated), at(3_601), 0.0);
    assert_eq!(tenant.next_erasure(at(3_601)), None, "it is active");
    for (seconds, wait, states) in [
        (3_601, 360, ["retired", "active"]),
        (3_960, 1, ["retired", "active"]),
        (3_961, 0, ["erased", "active"]),
    ] {
        let record = tenant.wanted_record(at(seconds), 0.0).expect("known");
        let keyring = record.keyring.as_ref().expect("a keyring");
        let all = keyring.versions.iter().map(|one| one.key.state());
        assert_eq!(all.collect::<Vec<_>>(), states, "at {seconds}");
        if wait == 360 {
            let version = Version("2".to_owned());
            tenant.recorded(Stored { record, version }, at(seconds));
        }
        let next = tenant.next_erasure(at(seconds));
        assert_eq!(next, Some(Duration::from_secs(wait)), "at {seconds}");
    }
}
