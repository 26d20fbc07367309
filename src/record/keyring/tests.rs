use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::takeover::take;
use super::wrapping::{mint, open, rewrap};
use super::*;
use crate::api::{ImportFrom, Reason, SecretRef};
use crate::provider::{Failure, Kind, Kms};

const UID: &str = "00112233445566778899aabbccddeeff";

/// Keeps what it wraps in a drawer; its ciphertexts are the drawer's labels.
struct Drawer {
    version: &'static str,
    wrapped: Mutex<Vec<Vec<u8>>>,
    /// Hands out what stands at this place, whatever is asked for.
    lies: Option<usize>,
    /// So many times it is out of order before it opens anything.
    outages: AtomicUsize,
}

impl Drawer {
    fn new(version: &'static str) -> Self {
        Self {
            version,
            wrapped: Mutex::default(),
            lies: None,
            outages: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl Kms for Drawer {
    async fn wrap(&self, _: &str, plaintext: &Zeroizing<Vec<u8>>) -> Result<Wrapped, Failure> {
        let mut wrapped = self.wrapped.lock().expect("no panic");
        wrapped.push(plaintext.to_vec());
        Ok(Wrapped {
            ciphertext: vec![u8::try_from(wrapped.len()).expect("few")],
            kek_version: self.version.to_owned(),
        })
    }

    async fn unwrap(&self, _: &str, one: &Wrapped) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let less = |left: usize| left.checked_sub(1);
        if self.outages.fetch_update(SeqCst, SeqCst, less).is_ok() {
            return Err(Failure::transient(Reason::ProviderError, "status 503"));
        }
        let wrapped = self.wrapped.lock().expect("no panic");
        let place = self.lies.unwrap_or(usize::from(one.ciphertext[0]) - 1);
        match wrapped.get(place) {
            Some(bytes) => Ok(Zeroizing::new(bytes.clone())),
            None => {
                Err(Failure::transient(Reason::ProviderError, "no such bytes").with_bytes_refused())
            }
        }
    }

    async fn unwrap_foreign(
        &self,
        algorithm: &str,
        version: Option<&str>,
        bytes: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if (algorithm, version) != ("foreign", Some(self.version)) {
            return Err(Failure::denial(Reason::KeyNotFound, "no such version"));
        }
        let one = Wrapped {
            ciphertext: bytes.to_vec(),
            kek_version: self.version.to_owned(),
        };
        self.unwrap("", &one).await
    }

    fn key_id(&self) -> &'static str {
        "drawer"
    }

    fn identity(&self) -> &'static str {
        "nobody"
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn kek(version: &str) -> Kek {
    Kek {
        provider: ProviderKind::Azure,
        key_id: "drawer".to_owned(),
        version: version.to_owned(),
    }
}

async fn first(kms: &Drawer) -> Keyring {
    let (minted, _) = mint(kms, UID).await.expect("minted");
    Keyring::begin(None, kek(kms.version), minted, at(0))
}

async fn rotated(kms: &Drawer, keyring: &Keyring) -> Keyring {
    let (minted, _) = mint(kms, UID).await.expect("minted");
    keyring.rotate(None, minted, at(1)).expect("room")
}

fn states(keyring: &Keyring) -> Vec<&'static str> {
    keyring.versions.iter().map(|one| one.key.state()).collect()
}

#[tokio::test]
async fn a_rotation_keeps_what_was_and_makes_one_active() {
    let kms = Drawer::new("v1");
    let one = first(&kms).await;
    let two = rotated(&kms, &one).await;
    assert_eq!(states(&two), ["retired", "active"]);
    assert!(two.is_sound() && two.revision > one.revision);
    for version in two.live() {
        let locked = two.locked(version).expect("live");
        let opened = open(&kms, UID, &locked).await.expect("opens");
        assert_eq!(opened.id, version.id);
    }
    let text = serde_json::to_string(&two).expect("json");
    assert_eq!(serde_json::from_str::<Keyring>(&text).expect("read"), two);
    for clear in kms.wrapped.lock().expect("no panic").iter() {
        assert!(!text.contains(&crate::random::encode_hex(clear)));
    }
}

#[tokio::test]
async fn another_key_another_tenant_and_another_id_are_told_apart() {
    let mut kms = Drawer::new("v1");
    let one = first(&kms).await;
    let two = rotated(&kms, &one).await;
    let locked = two.locked(two.active().expect("active")).expect("live");
    assert!(open(&kms, UID, &locked).await.is_ok());
    let corrupt = |failure: Failure| (failure.kind, failure.reason);
    let expected = (Kind::Transient, Reason::KeyringCorrupt);
    let other = open(&kms, "another uid", &locked)
        .await
        .expect_err("tenant");
    assert_eq!(corrupt(other), expected);
    let id = one.versions[0].id.clone();
    let swapped = Locked {
        id,
        ..locked.clone()
    };
    let other = open(&kms, UID, &swapped).await.expect_err("id");
    assert_eq!(corrupt(other), expected);
    kms.lies = Some(0);
    let other = open(&kms, UID, &locked)
        .await
        .expect_err("the first one's bytes");
    assert_eq!(corrupt(other), expected);
}

#[tokio::test]
async fn bytes_that_do_not_open_while_the_key_works_are_the_records_fault() {
    let kms = Drawer::new("v1");
    let one = first(&kms).await;
    let mut locked = one.locked(&one.versions[0]).expect("live");
    locked.wrapped.ciphertext = vec![200];
    let failure = open(&kms, UID, &locked).await.expect_err("changed");
    assert_eq!(failure.reason, Reason::KeyringCorrupt);
}

#[tokio::test]
async fn an_outage_that_ends_before_anybody_looks_accuses_no_record() {
    let kms = Drawer::new("v1");
    let one = first(&kms).await;
    let locked = one.locked(&one.versions[0]).expect("live");
    let foreign = Zeroizing::new(vec![7; 32]);
    let foreign = kms.wrap("", &foreign).await.expect("wrapped");
    kms.outages.store(1, SeqCst);
    let failure = open(&kms, UID, &locked).await.expect_err("one 503");
    assert_eq!(failure.reason, Reason::ProviderError);
    kms.outages.store(1, SeqCst);
    let from = import_from("foreign");
    let failure = take(&kms, UID, &from, &foreign.ciphertext)
        .await
        .expect_err("one 503");
    assert_eq!(failure.reason, Reason::ProviderError);
}

#[tokio::test]
async fn moving_to_another_key_carries_every_live_version_or_none() {
    let (old, new) = (Drawer::new("v1"), Drawer::new("w1"));
    let two = rotated(&old, &first(&old).await).await;
    let azure = ProviderKind::Azure;
    let (mut moved, opened) = rewrap(&old, &new, azure, UID, &two).await.expect("moved");
    let after = two.rewrap(&moved).expect("complete");
    let opened = opened.expect("the active one");
    assert!(opened.is_active_of(&after) && !opened.is_active_of(&two));
    assert_eq!(after.kek, kek("w1"));
    for version in after.live() {
        let locked = after.locked(version).expect("live");
        open(&new, UID, &locked)
            .await
            .expect("opens with the new key");
    }
    let kept = |a: &Keyring, b: &Keyring| {
        let commitments = |one: &Keyring| -> Vec<Commitment> {
            one.versions.iter().map(|v| v.commitment.clone()).collect()
        };
        commitments(a) == commitments(b)
    };
    assert!(kept(&two, &after), "a commitment is written once");
    moved.wrapped.pop_first();
    assert_eq!(two.rewrap(&moved), None, "one would be lost");
    let (minted, _) = mint(&new, UID).await.expect("minted");
    let refused = two.rotate(Some(&moved), minted, at(3));
    assert_eq!(refused, Err(Unfit::Incomplete));
    let liar = Drawer {
        lies: Some(0),
        ..Drawer::new("w1")
    };
    let failure = rewrap(&old, &liar, azure, UID, &two)
        .await
        .expect_err("a lie");
    assert_eq!(failure.reason, Reason::KeyringCorrupt);
}

fn import_from(algorithm: &str) -> ImportFrom {
    ImportFrom {
        secret_ref: SecretRef {
            name: "old".to_owned(),
            key: "wrapped".to_owned(),
        },
        algorithm: algorithm.to_owned(),
        kek_version: Some("v1".to_owned()),
    }
}

#[tokio::test]
async fn a_key_that_is_taken_over_becomes_one_like_any_other() {
    let kms = Drawer::new("v1");
    let home_made = [7; 32];
    let plain = Zeroizing::new(home_made.to_vec());
    let foreign = kms.wrap("", &plain).await.expect("wrapped");
    let take = async |from: &ImportFrom, bytes: &[u8]| take(&kms, UID, from, bytes).await;
    let from = import_from("foreign");
    let (locked, opened) = take(&from, &foreign.ciphertext).await.expect("taken");
    assert_ne!(locked.wrapped, foreign, "wrapped anew");
    assert_eq!(**opened.key.bytes(), home_made);
    let again = open(&kms, UID, &locked).await.expect("opens");
    assert_eq!(again.id, opened.id);
    let keyring = Keyring::begin(None, kek("v1"), locked, at(0));
    assert!(keyring.is_sound() && keyring.versions[0].number == 1);

    let short = Zeroizing::new(vec![7; 31]);
    let short = kms.wrap("", &short).await.expect("wrapped").ciphertext;
    let unknown = vec![200; 256];
    for wrong in [&short, &unknown, &vec![], &vec![b'A'; 20_000]] {
        let failure = take(&from, wrong).await.expect_err("no master key");
        assert_eq!(
            (failure.kind, failure.reason),
            (Kind::Misconfigured, Reason::KeyUnusable)
        );
    }
    // What the key service says by itself stays its word.
    let other = take(&import_from("other"), &foreign.ciphertext).await;
    assert_eq!(other.expect_err("no").reason, Reason::KeyNotFound);
}

#[tokio::test]
async fn erasing_spares_the_active_one_and_is_for_ever() {
    let kms = Drawer::new("v1");
    let two = rotated(&kms, &first(&kms).await).await;
    let [old, active] = [0, 1].map(|n| two.versions[n].id.to_string());
    let erasure = two.erase(&[old.clone(), active.clone(), "00".repeat(16)], at(1_000));
    assert_eq!(erasure.active.map(|id| id.to_string()), Some(active));
    let after = erasure.changed.expect("one is erased");
    assert_eq!(states(&after), ["erased", "active"]);
    assert!(after.is_sound() && after.locked(&after.versions[0]).is_none());
    assert_eq!(after.erase(&[old], at(1_001)).changed, None);
    let nothing = after.erase_all(at(7));
    assert!(nothing.is_sound() && nothing.active().is_none());
    let (minted, _) = mint(&kms, UID).await.expect("minted");
    let again = Keyring::begin(Some(&nothing), kek("v1"), minted, at(8));
    assert_eq!(states(&again), ["erased", "erased", "active"]);
    assert_eq!(again.versions[2].number, 3);
}

#[tokio::test]
async fn what_may_still_be_encrypting_somewhere_is_not_erased() {
    let kms = Drawer::new("v1");
    let two = rotated(&kms, &first(&kms).await).await;
    let old = [two.versions[0].id.to_string()];
    for (now, left) in [(1, 360), (360, 1), (-9_999, 10_360)] {
        let erasure = two.erase(&old, at(now));
        assert_eq!(erasure.changed, None, "at {now}");
        assert_eq!(erasure.wait.map(|wait| wait.as_secs()), Some(left));
    }
    let erasure = two.erase(&old, at(361));
    assert_eq!(erasure.wait, None);
    assert!(erasure.changed.is_some());
}

#[tokio::test]
async fn there_are_at_most_64_live_versions() {
    let kms = Drawer::new("v1");
    let mut keyring = first(&kms).await;
    for _ in 1..MOST_LIVE {
        keyring = rotated(&kms, &keyring).await;
    }
    assert!(keyring.is_sound());
    let (minted, _) = mint(&kms, UID).await.expect("minted");
    assert_eq!(
        keyring.rotate(None, minted.clone(), at(9)),
        Err(Unfit::Full)
    );
    let oldest = keyring.versions[0].id.to_string();
    let erased = keyring.erase(&[oldest], at(1_000)).changed.expect("erased");
    assert!(erased.rotate(None, minted, at(9)).is_ok());
}

#[tokio::test]
async fn what_no_holder_wrote_is_not_sound() {
    let kms = Drawer::new("v1");
    let two = rotated(&kms, &first(&kms).await).await;
    let changes: [fn(&mut Keyring); 6] = [
        |k| k.versions[0].id = k.versions[1].id.clone(),
        |k| k.versions.swap(0, 1),
        |k| k.versions[0].key = k.versions[1].key.clone(),
        |k| k.versions[1].key = k.versions[0].key.clone(),
        |k| k.versions.clear(),
        |k| k.revision = 0,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut keyring = two.clone();
        change(&mut keyring);
        assert!(!keyring.is_sound(), "change {n}");
    }
}

#[test]
fn a_commitment_has_a_fixed_form() {
    // Python: HKDF(SHA256, 32, b"tenantkms.dev/v1", info).derive(bytes(range(32))), where info is
    // each of commitment, the uid and the id after its length in eight bytes.
    let key = MasterKey::from_bytes(Zeroizing::new((0..32).collect())).expect("32 bytes");
    let id = KeyId::parse("0f0e0d0c0b0a09080706050403020100").expect("an id");
    let text = serde_json::to_string(&key.commitment(UID, &id)).expect("json");
    assert_eq!(
        text,
        "\"41f5c414929ee8b3c763b62c749ea8d5bbde28c5d77099204773ea86f9398512\""
    );
}
