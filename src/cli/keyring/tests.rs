use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::decide::{Decision, Existing, Refusal, decide};
use super::document::{Document, Refused};
use crate::api::ProviderKind;
use crate::provider::{TenantId, Wrapped};
use crate::record::Record;
use crate::record::keyring::{Kek, Key, KeyId, Keyring, Locked, MasterKey, Rewrapped, Version};

const UID: &str = "00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn acme() -> TenantId {
    TenantId::new("tenants", "acme")
}

fn locked(n: u8) -> Locked {
    let id = KeyId::parse(&format!("{n:032x}")).expect("an id");
    let key = MasterKey::from_bytes(Zeroizing::new(vec![n; 32])).expect("32 bytes");
    Locked {
        commitment: key.commitment(UID, &id),
        id,
        wrapped: Wrapped {
            ciphertext: vec![n; 256],
            kek_version: "v1".to_owned(),
        },
    }
}

fn first() -> Keyring {
    let kek = Kek {
        provider: ProviderKind::Azure,
        key_id: "https://acme-kv.vault.azure.net/keys/k".to_owned(),
        version: "v1".to_owned(),
    };
    Keyring::begin(None, kek, locked(1), at(0))
}

fn rotated(keyring: &Keyring, n: u8) -> Keyring {
    keyring.rotate(None, locked(n), at(1)).expect("room")
}

fn record(uid: &str, epoch: u64, keyring: Keyring) -> Record {
    Record::restored(&acme(), uid, "ns-1", epoch, keyring)
}

fn document(epoch: u64, keyring: Keyring) -> Document {
    Document::of(&record(UID, epoch, keyring), at(9)).expect("it has keys")
}

/// As an import reads what is stored.
fn stored(record: &Record) -> Existing {
    let bytes = serde_json::to_vec(record).expect("json");
    Existing::read(Some(&bytes), &acme())
}

fn decided(existing: &Existing, document: &Document) -> Decision {
    decide(existing, document, &acme(), "ns-1", false)
}

fn written(decision: Decision) -> Record {
    match decision {
        Decision::Write(record) => *record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_exported_is_read_again_and_nothing_is_in_the_clear() {
    let document = document(4, rotated(&first(), 2));
    let text = document.to_text().expect("text");
    assert_eq!(Document::parse(text.as_bytes()).as_ref(), Ok(&document));
    for n in [1u8, 2] {
        assert!(!text.contains(&crate::random::encode_hex(&[n; 32])));
    }
    // Whoever prints it otherwise, or sorts it otherwise, has not damaged it.
    let value: Value = serde_json::from_str(&text).expect("json");
    assert_eq!(
        Document::parse(value.to_string().as_bytes()),
        Ok(document.clone())
    );
    let none = Record {
        keyring: None,
        ..record(UID, 1, first())
    };
    assert_eq!(Document::of(&none, at(0)), None);
}

#[test]
fn the_digest_is_the_one_that_jq_and_sha256sum_print() {
    let text = document(4, first()).to_text().expect("text");
    let value: Value = serde_json::from_str(&text).expect("json");
    // jq -cjS 'del(.sha256)' FILE | sha256sum
    assert_eq!(
        value["sha256"],
        "6fe0cec80f9c79892f0e85405aff3b7fb1d3877ea0d066e73abca909a4c49eee"
    );
}

#[test]
fn a_file_that_was_changed_anywhere_is_refused() {
    let text = document(4, rotated(&first(), 2)).to_text().expect("text");
    let value: Value = serde_json::from_str(&text).expect("json");
    let pointers = [
        "/tenant",
        "/tenantUid",
        "/sealEpoch",
        "/exportedAt",
        "/sha256",
        "/keyring/revision",
        "/keyring/kek/keyId",
        "/keyring/versions/0/wrapped",
        "/keyring/versions/1/id",
        "/keyring/versions/1/commitment",
    ];
    for pointer in pointers {
        let mut changed = value.clone();
        let place = changed.pointer_mut(pointer).expect(pointer);
        *place = match &*place {
            Value::Number(number) => json!(number.as_u64().expect("a count") + 1),
            other => json!(format!("{}0", other.as_str().expect("a text"))),
        };
        let parsed = Document::parse(changed.to_string().as_bytes());
        assert_eq!(parsed, Err(Refused::Damaged), "{pointer}");
    }
    for more in ["/more", "/keyring/more"] {
        let mut changed = value.clone();
        let (parent, name) = more.rsplit_once('/').expect("a path");
        changed.pointer_mut(parent).expect("an object")[name] = json!(1);
        let parsed = Document::parse(changed.to_string().as_bytes());
        assert_eq!(parsed, Err(Refused::Damaged), "{more}");
    }
    for end in 0..text.len() - 2 {
        assert!(Document::parse(&text.as_bytes()[..end]).is_err(), "{end}");
    }
}

/// The file with other values and the digest that belongs to them.
fn forged(change: impl FnOnce(&mut Document)) -> Result<Document, Refused> {
    let mut document = document(4, rotated(&first(), 2));
    change(&mut document);
    Document::parse(document.to_text().expect("text").as_bytes())
}

#[test]
fn a_whole_file_of_something_else_is_refused_too() {
    let unsound = forged(|one| one.keyring.versions.swap(0, 1));
    assert_eq!(unsound, Err(Refused::Damaged));
    for uid in ["", "no uid", "00112233445566778899AABBCCDDEEFF"] {
        let wrong = forged(|one| uid.clone_into(&mut one.tenant_uid));
        assert_eq!(wrong, Err(Refused::Damaged));
    }
    let nobody = forged(|one| "acme".clone_into(&mut one.tenant));
    assert_eq!(nobody, Err(Refused::Damaged));
    let text = document(4, first()).to_text().expect("text");
    for (from, to, refused) in [
        ("v1alpha1", "v1", Refused::TooNew),
        ("tenantkms.dev/", "other.example/", Refused::Foreign),
        ("TenantKmsKeyring", "TenantKms", Refused::Foreign),
    ] {
        let other = text.replacen(from, to, 1);
        assert_eq!(Document::parse(other.as_bytes()), Err(refused), "{to}");
    }
    for text in ["", "null", "[]", "{}", "\"TenantKmsKeyring\""] {
        assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn where_nothing_is_everything_is_written_but_what_was_in_force() {
    let document = document(4, first());
    let record = written(decide(
        &Existing::Nothing,
        &document,
        &TenantId::new("other", "maple"),
        "ns-2",
        false,
    ));
    assert_eq!(record.tenant, "other/maple");
    assert_eq!(
        (record.tenant_uid.as_str(), record.namespace_uid.as_str()),
        (UID, "ns-2")
    );
    assert_eq!(record.seal_epoch, 5, "no session of before lives on");
    assert_eq!(record.keyring, Some(first()));
    assert!(record.applied.is_none() && record.claim.is_none() && record.sealed.is_none());
}

#[test]
fn of_one_keyring_the_newer_copy_stays() {
    let (old, new) = (first(), rotated(&first(), 2));
    let record = written(decided(
        &stored(&record(UID, 9, old.clone())),
        &document(4, new.clone()),
    ));
    assert_eq!((record.keyring, record.seal_epoch), (Some(new.clone()), 10));
    for (on_record, imported) in [(new.clone(), old.clone()), (new.clone(), new.clone())] {
        let existing = stored(&self::record(UID, 9, on_record));
        let document = document(40, imported);
        let unchanged = |foreign| Decision::Unchanged { foreign };
        assert_eq!(decided(&existing, &document), unchanged(false));
        assert_eq!(
            decide(&existing, &document, &acme(), "ns-2", false),
            unchanged(true)
        );
    }
}

#[test]
fn bytes_that_do_not_open_are_mended_from_an_older_file_when_a_person_says_so() {
    let old = first();
    let newer = rotated(&old, 2);
    let mut damaged = newer.clone();
    let Key::Retired { wrapped, .. } = &mut damaged.versions[0].key else {
        panic!("retired");
    };
    wrapped.0[0] ^= 1;
    let existing = stored(&record(UID, 9, damaged.clone()));
    let decide =
        |document: &Document, replace| decide(&existing, document, &acme(), "ns-1", replace);
    let unchanged = Decision::Unchanged { foreign: false };
    assert_eq!(decide(&document(1, old.clone()), false), unchanged);
    let record = written(decide(&document(1, old.clone()), true));
    let mended = record.keyring.expect("a keyring");
    assert_eq!(mended.versions, newer.versions, "no version is lost");
    assert_eq!(
        (mended.revision, record.seal_epoch),
        (damaged.revision + 1, 10)
    );
    // What another key wrapped opens nothing here.
    assert_eq!(decide(&document(1, damaged), true), unchanged);
    let elsewhere = moved(&old);
    assert!(newer.mended(&elsewhere).is_none());
    // An erased version does not come back.
    let id = old.versions[0].id.to_string();
    let erased = newer.erase(&[id], at(1_000)).changed.expect("erased");
    assert!(erased.mended(&newer).is_none());
}

/// The same versions under another key.
fn moved(keyring: &Keyring) -> Keyring {
    let wrapped = |version: &Version| (version.id.clone(), ByteString(vec![9; 256]));
    let rewrapped = Rewrapped {
        kek: Kek {
            key_id: "https://acme-kv.vault.azure.net/keys/other".to_owned(),
            ..keyring.kek.clone()
        },
        wrapped: keyring.live().map(wrapped).collect(),
    };
    keyring.rewrap(&rewrapped).expect("complete")
}

#[test]
fn a_migration_makes_a_copy_newer_too() {
    let (old, new) = (first(), moved(&first()));
    let existing = stored(&record(UID, 1, old.clone()));
    let record = written(decided(&existing, &document(1, new.clone())));
    assert_eq!(record.keyring, Some(new.clone()));
    let existing = stored(&record);
    let unchanged = Decision::Unchanged { foreign: false };
    assert_eq!(decided(&existing, &document(1, old.clone())), unchanged);
    // Rotated there before it was migrated here.
    let existing = stored(&self::record(UID, 1, moved(&new)));
    assert_eq!(
        decided(&existing, &document(1, rotated(&old, 2))),
        Decision::Refuse(Refusal::Diverged)
    );
}

#[test]
fn copies_that_both_changed_are_never_merged() {
    let diverged = Decision::Refuse(Refusal::Diverged);
    let (two, three) = (rotated(&first(), 2), rotated(&rotated(&first(), 3), 4));
    for (on_record, imported) in [(&two, &three), (&three, &two)] {
        let existing = stored(&record(UID, 1, on_record.clone()));
        assert_eq!(decided(&existing, &document(1, imported.clone())), diverged);
    }
    // Erased here, rotated there: nothing comes back.
    let old = two.versions[0].id.to_string();
    let erased = two.erase(&[old], at(1_000)).changed.expect("erased");
    let there = rotated(&rotated(&two, 5), 6);
    let existing = stored(&record(UID, 1, erased.clone()));
    assert_eq!(decided(&existing, &document(1, there)), diverged);
    // Erased there, and nothing since here.
    let existing = stored(&record(UID, 1, two.clone()));
    let record = written(decided(&existing, &document(1, erased.clone())));
    assert_eq!(record.keyring, Some(erased));
    // The same id with another commitment is another key.
    let mut other = rotated(&two, 5);
    other.versions[0].commitment = other.versions[1].commitment.clone();
    assert_eq!(decided(&existing, &document(1, other)), diverged);
}

#[test]
fn a_tenant_never_has_two_keyrings() {
    let existing = stored(&record(OTHER, 1, first()));
    let newer = document(1, rotated(&first(), 2));
    let refused = Decision::Refuse(Refusal::OtherKeyring);
    assert_eq!(decided(&existing, &newer), refused);
    assert_eq!(
        decide(&existing, &newer, &acme(), "ns-1", true),
        refused,
        "readable, whatever may be replaced"
    );
}

#[test]
fn a_record_without_keys_gives_way_unless_it_lost_anothers() {
    let begun = Record::new(&acme(), "ns-1").expect("random bytes");
    let begun = Record {
        seal_epoch: 7,
        ..begun
    };
    let document = document(4, first());
    let record = written(decided(&stored(&begun), &document));
    assert_eq!((record.tenant_uid.as_str(), record.seal_epoch), (UID, 8));
    let lost = |uid: &str| {
        stored(&Record {
            keyring: None,
            ..self::record(uid, 7, first())
        })
    };
    assert!(matches!(
        lost(UID),
        Existing::Empty {
            lost: true,
            seal_epoch: 7,
            ..
        }
    ));
    assert_eq!(written(decided(&lost(UID), &document)).seal_epoch, 8);
    assert_eq!(
        decided(&lost(OTHER), &document),
        Decision::Refuse(Refusal::OtherKeyring)
    );
}

#[test]
fn what_cannot_be_read_goes_only_when_a_person_says_so() {
    let document = document(4, first());
    let others = serde_json::to_vec(&record(UID, 1, first())).expect("json");
    let others = Existing::read(Some(&others), &TenantId::new("tenants", "birch"));
    for existing in [
        Existing::read(Some(b"{"), &acme()),
        Existing::read(Some(b""), &acme()),
        others,
    ] {
        assert_eq!(existing, Existing::Unreadable);
        assert_eq!(
            decided(&existing, &document),
            Decision::Refuse(Refusal::Unreadable)
        );
        written(decide(&existing, &document, &acme(), "ns-1", true));
    }
    let newer = Existing::read(Some(br#"{"format":99}"#), &acme());
    assert_eq!(
        decide(&newer, &document, &acme(), "ns-1", true),
        Decision::Refuse(Refusal::TooNew)
    );
}
