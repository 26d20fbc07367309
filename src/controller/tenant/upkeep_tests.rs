//! When a rotation is due, and whom it wakes.

use super::*;
use crate::api::{ProviderKind, Reason, TenantKms, TenantKmsSpec};
use crate::controller::object::tests::watched;
use crate::controller::tenant::{Stored, Success};
use crate::provider::{TenantId, Wrapped};
use crate::record::Applied;
use crate::record::keyring::{Kek, KeyId, Locked, MasterKey};
use crate::record::store::Version;

fn at(seconds: u64) -> Moment {
    Moment {
        boot: Duration::from_secs(seconds),
        wall: Duration::from_secs(1_800_000_000 + seconds),
    }
}

/// A tenant with a master key made at `at(0)`, for which a rotation was asked.
fn asked() -> Tenant {
    let (id, spec) = (
        TenantId::new("tenants", "acme"),
        TenantKmsSpec::new(ProviderKind::Azure, "k"),
    );
    let mut record = Record::new(&id, "ns").expect("random");
    let key = KeyId::random().expect("random");
    let minted = Locked {
        commitment: MasterKey::random()
            .expect("random")
            .commitment(&record.tenant_uid, &key),
        id: key,
        wrapped: Wrapped {
            ciphertext: vec![1],
            kek_version: "1".to_owned(),
        },
    };
    let kek = Kek {
        provider: ProviderKind::Azure,
        key_id: "k".to_owned(),
        version: "1".to_owned(),
    };
    record.applied = Some(Applied {
        spec: spec.clone(),
        object_uid: "uid".to_owned(),
        generation: 1,
    });
    let record = record.with_keyring(Keyring::begin(None, kek, minted, at(0).timestamp()));
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
