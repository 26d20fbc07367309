//! The key as the operator uses it: files that come, change and go, and what is told of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;
use crate::api::{ProviderKind, Reason};
use crate::policy;
use crate::provider::{Kind, probe};

const ONE: [u8; 32] = [0xa1; 32];
const TWO: [u8; 32] = [0xb2; 32];
const UID: &str = "00112233445566778899aabbccddeeff";

fn allowing(keys: &str) -> Policy {
    let text = format!(
        "apiVersion: {}\nkind: {}\noperatorIdentity: {{ allow: [{{ tenants: ['std/*'], keys: \
         ['{keys}'] }}] }}\n",
        policy::API_VERSION,
        policy::KIND
    );
    policy::parse(&text).expect("valid")
}

fn connect(files: &Files, namespace: &str, policy: &Policy) -> Result<LocalKms, Failure> {
    let spec = TenantKmsSpec::new(ProviderKind::Local, "local://standard");
    LocalKms::connect(files, &TenantId::new(namespace, "acme"), &spec, policy)
}

fn kms(folder: &Path) -> LocalKms {
    let files = Files::new(Some(folder.to_owned()));
    connect(&files, "std", &allowing("local://standard")).expect("allowed")
}

/// A folder with version 1.
fn mounted() -> TempDir {
    let folder = TempDir::new().expect("folder");
    fs::write(folder.path().join("standard.1"), ONE).expect("write");
    folder
}

fn plaintext() -> Zeroizing<Vec<u8>> {
    Zeroizing::new((0..32).collect())
}

fn about(failure: &Failure) -> (Kind, Reason) {
    (failure.kind, failure.reason)
}

const UNOPENED: (Kind, Reason) = (Kind::Transient, Reason::ProviderError);

#[tokio::test]
async fn what_is_wrapped_opens_for_its_tenant_and_version_only() {
    let folder = mounted();
    fs::write(folder.path().join("standard.2"), STANDARD.encode(TWO)).expect("write");
    let kms = kms(folder.path());
    assert_eq!(
        probe(&kms, UID).await.expect("works").kek_version,
        "2",
        "the highest wraps"
    );
    let wrapped = kms.wrap(UID, &plaintext()).await.expect("wrapped");
    assert_eq!(wrapped.ciphertext.len(), 1 + 32 + 12 + 32 + 16);
    let opened = kms.unwrap(UID, &wrapped).await.expect("opened");
    assert_eq!(*opened, *plaintext());

    let other = kms.unwrap("another", &wrapped).await.expect_err("uid");
    assert_eq!(about(&other), UNOPENED);
    for version in ["1", "02", "", "../standard.2", "x"] {
        let wrong = Wrapped {
            kek_version: version.to_owned(),
            ..wrapped.clone()
        };
        let failure = kms.unwrap(UID, &wrong).await.expect_err(version);
        assert_eq!(about(&failure), UNOPENED, "{version}");
    }
    // The same bytes as another version or under another name are not the same key.
    fs::write(folder.path().join("standard.3"), TWO).expect("write");
    let renamed = Wrapped {
        kek_version: "3".to_owned(),
        ..wrapped.clone()
    };
    assert!(kms.unwrap(UID, &renamed).await.is_err());
    fs::write(folder.path().join("gold.2"), TWO).expect("write");
    let gold = LocalKms {
        files: kms.files.clone(),
        key: KeyRef::parse("local://gold").expect("a key"),
    };
    assert!(gold.unwrap(UID, &wrapped).await.is_err());
    assert!(kms.unwrap(UID, &wrapped).await.is_ok());
}

#[tokio::test]
async fn no_byte_of_it_may_be_changed() {
    let folder = mounted();
    let kms = kms(folder.path());
    let wrapped = kms.wrap(UID, &plaintext()).await.expect("wrapped");
    for at in 0..wrapped.ciphertext.len() {
        let mut changed = wrapped.clone();
        changed.ciphertext[at] ^= 1;
        let failure = kms.unwrap(UID, &changed).await.expect_err("changed");
        assert_eq!(about(&failure), UNOPENED, "byte {at}");
    }
    for length in [0, 1, 33, 45, 60, wrapped.ciphertext.len() - 1] {
        let mut cut = wrapped.clone();
        cut.ciphertext.truncate(length);
        assert!(kms.unwrap(UID, &cut).await.is_err(), "{length}");
    }
    let again = kms.wrap(UID, &plaintext()).await.expect("wrapped");
    assert_ne!(again.ciphertext[1..33], wrapped.ciphertext[1..33], "a salt");
    assert_ne!(again.ciphertext[33..45], wrapped.ciphertext[33..45]);
}

/// As the kubelet mounts a Secret: a folder per content, and a link that is swapped.
#[tokio::test]
async fn a_mounted_secret_is_followed() {
    let folder = TempDir::new().expect("folder");
    let at = |name: &str| folder.path().join(name);
    for (name, files) in [
        ("..1", &["standard.9"][..]),
        ("..2", &["standard.9", "standard.10"]),
    ] {
        fs::create_dir(at(name)).expect("create");
        for file in files {
            fs::write(at(name).join(file), ONE).expect("write");
        }
    }
    symlink("..1", at("..data")).expect("link");
    symlink("..data/standard.9", at("standard.9")).expect("link");
    let kms = kms(folder.path());
    let old = kms.wrap(UID, &plaintext()).await.expect("wrapped");
    assert_eq!(old.kek_version, "9");
    symlink("..2", at("..tmp")).expect("link");
    fs::rename(at("..tmp"), at("..data")).expect("swap");
    symlink("..data/standard.10", at("standard.10")).expect("link");
    let new = kms.wrap(UID, &plaintext()).await.expect("wrapped");
    assert_eq!(new.kek_version, "10", "by number, not by letters");
    assert!(kms.unwrap(UID, &old).await.is_ok());
    fs::remove_file(at("standard.9")).expect("remove");
    let gone = kms.unwrap(UID, &old).await.expect_err("gone");
    assert_eq!(about(&gone), (Kind::Misconfigured, Reason::KeyNotFound));
    assert!(gone.message.contains("the file standard.9"), "{gone}");
}

#[tokio::test]
async fn a_folder_without_a_key_is_the_platforms_own_fault() {
    let nowhere = Files::default();
    let failure = connect(&nowhere, "std", &allowing("local://*")).expect_err("no folder");
    assert_eq!(about(&failure), (Kind::Misconfigured, Reason::KeyNotFound));
    assert!(failure.message.contains("--local-kek-dir"), "{failure}");

    let folder = TempDir::new().expect("folder");
    for other in [
        "standard",
        "standard.",
        "standard.0",
        "standard.01",
        "standard.x",
        "gold.1",
    ] {
        fs::write(folder.path().join(other), ONE).expect("write");
    }
    for place in [folder.path().join("absent"), folder.path().to_owned()] {
        let failure = kms(&place).wrap(UID, &plaintext()).await.expect_err("none");
        assert_eq!(about(&failure), (Kind::Misconfigured, Reason::KeyNotFound));
    }
    let file = folder.path().join("gold.1");
    let failure = kms(&file).wrap(UID, &plaintext()).await.expect_err("file");
    assert_eq!(about(&failure), (Kind::Misconfigured, Reason::KeyUnusable));
}

#[tokio::test]
async fn a_file_that_is_no_key_is_named_and_not_told() {
    let folder = mounted();
    let kms = kms(folder.path());
    let text = "hunter2-hunter2-hunter2-hunter2-hunter2-hunter2";
    let contents = [
        Vec::new(),
        text.as_bytes().to_vec(),
        text.as_bytes()[..44].to_vec(),
        ONE[..31].to_vec(),
        [&ONE[..], b"\n"].concat(),
        vec![b'h'; 70_000],
    ];
    for content in contents {
        fs::write(folder.path().join("standard.2"), &content).expect("write");
        let failure = kms.wrap(UID, &plaintext()).await.expect_err("no key");
        assert_eq!(about(&failure), (Kind::Misconfigured, Reason::KeyUnusable));
        assert!(failure.message.contains("the file standard.2"), "{failure}");
        assert!(!failure.message.contains("hunter2"), "{failure}");
    }
    fs::remove_file(folder.path().join("standard.2")).expect("remove");
    fs::create_dir(folder.path().join("standard.2")).expect("create");
    let failure = kms.wrap(UID, &plaintext()).await.expect_err("no file");
    assert_eq!(about(&failure), (Kind::Misconfigured, Reason::KeyUnusable));
}

#[tokio::test]
async fn nothing_shows_the_key() {
    let folder = TempDir::new().expect("folder");
    let canary = *b"hunter2-hunter2-hunter2-hunter2-";
    fs::write(folder.path().join("standard.1"), canary).expect("write");
    let kms = kms(folder.path());
    let version = Version::parse("1").expect("a version");
    let kek = kms.files.read(&kms.key, version).expect("a key");
    let wrapped = kms.wrap(UID, &plaintext()).await.expect("wrapped");
    let other = kms.unwrap("another", &wrapped).await.expect_err("uid");
    let shown = format!("{kms:?} {kek:?} {wrapped:?} {other:?} {}", kms.identity());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!shown.contains("104, 117, 110"), "{shown}");
}

#[test]
fn only_a_grant_opens_it() {
    let files = Files::new(Some("/nowhere".into()));
    assert!(connect(&files, "std", &allowing("local://*")).is_ok());
    for (namespace, policy) in [
        ("std", Policy::default()),
        ("std", allowing("local://gold")),
        ("other", allowing("local://standard")),
    ] {
        let failure = connect(&files, namespace, &policy).expect_err("refused");
        assert_eq!(about(&failure), (Kind::Denial, Reason::NotAllowed));
        assert!(
            failure.message.contains("['local://standard']"),
            "{failure}"
        );
    }
    let kms = connect(&files, "std", &allowing("local://standard")).expect("allowed");
    assert_eq!(kms.key_id(), "local://standard");
    assert!(!kms.is_exclusive(), "standard tenants share it");
}
