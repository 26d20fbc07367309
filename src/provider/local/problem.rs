//! What people are told of a key that the platform mounts: the file, what is wrong with it and the
//! command that mends it. Never what is in it, and never where it is on the node.

use super::keyref::{KeyRef, Version};
use crate::api::Reason;
use crate::provider::{Failure, TenantId};

/// The form is all that is told: the text may be anything.
pub fn no_key_ref() -> Failure {
    Failure::misconfigured(
        Reason::InvalidKeyRef,
        "spec.kmsKeyRef is no key of the platform: write local://NAME, NAME being 1 to 63 \
         lower-case letters, digits and inner hyphens: kubectl explain tenantkms.spec.kmsKeyRef",
    )
}

pub fn not_allowed(tenant: &TenantId, key: &KeyRef) -> Failure {
    let key = key.id();
    Failure::denial(
        Reason::NotAllowed,
        format!(
            "the operator's configuration does not let tenant {tenant} use {key}. Check \
             operatorIdentity.allow: it needs tenants: ['{tenant}'] and keys: ['{key}'], then: \
             tenant-kms config check '<file>'"
        ),
    )
}

pub fn not_mounted(key: &KeyRef) -> Failure {
    mount(key, "the operator was started without --local-kek-dir")
}

pub fn no_folder(key: &KeyRef) -> Failure {
    mount(key, "the folder of --local-kek-dir is not there")
}

fn mount(key: &KeyRef, what: &str) -> Failure {
    Failure::misconfigured(
        Reason::KeyNotFound,
        format!(
            "{} is a key that the platform mounts, and {what}. Check the chart's value \
             localKek.secretName: helm get values '<release>' --namespace '<namespace>' --all",
            key.id()
        ),
    )
}

pub fn closed_folder(key: &KeyRef) -> Failure {
    Failure::misconfigured(
        Reason::KeyUnusable,
        format!(
            "{} is a key that the platform mounts, and the folder of --local-kek-dir cannot be \
             listed. Check that it is a folder and who may read it: {SHOW_POD}",
            key.id()
        ),
    )
}

const SHOW_POD: &str = "kubectl describe pod --namespace '<namespace>' --selector \
                        'app.kubernetes.io/name=tenant-kms-operator'";

pub fn no_version(key: &KeyRef) -> Failure {
    let name = key.name();
    Failure::misconfigured(
        Reason::KeyNotFound,
        format!(
            "no file {name}.1, {name}.2, … is in the folder of --local-kek-dir, so there is no \
             {}. Check the Secret that is mounted there and put back what it had, from your backup; \
             only where there never was one make the first: {}",
            key.id(),
            add(&format!("{name}.1"), "\"$(openssl rand -base64 32)\"")
        ),
    )
}

pub fn no_file(key: &KeyRef, version: Version) -> Failure {
    let file = key.file(version);
    Failure::misconfigured(
        Reason::KeyNotFound,
        format!(
            "the file {file} is not in the folder of --local-kek-dir, and what it wraps opens with \
             no other. Put the same key back, from your backup, into the Secret that is mounted \
             there: {}",
            add(&file, "\"$(base64 < '<file with the 32 bytes>')\"")
        ),
    )
}

pub fn no_key(key: &KeyRef, version: Version) -> Failure {
    let file = key.file(version);
    Failure::misconfigured(
        Reason::KeyUnusable,
        format!(
            "the file {file} in the folder of --local-kek-dir is no key: it must be exactly 32 \
             random bytes, or their base64 in one line of 44 characters. Check it in the Secret \
             that is mounted there; while it never wrapped anything: {}",
            add(&file, "\"$(openssl rand -base64 32)\"")
        ),
    )
}

pub fn unreadable(key: &KeyRef, version: Version, why: &str) -> Failure {
    Failure::misconfigured(
        Reason::KeyUnusable,
        format!(
            "the file {} in the folder of --local-kek-dir {why}. Check the Secret that is mounted \
             there: {SHOW_POD}",
            key.file(version)
        ),
    )
}

/// Puts one more file into the Secret, and shows nothing of it to who lists processes.
fn add(file: &str, base64: &str) -> String {
    format!(
        "printf '{{\"data\":{{\"{file}\":\"%s\"}}}}' {base64} | kubectl patch secret '<secret>' \
         --namespace '<namespace>' --patch-file /dev/stdin"
    )
}

/// Which of the two is wrong, a probe tells.
pub fn does_not_open(key: &KeyRef) -> Failure {
    Failure::transient(
        Reason::ProviderError,
        format!(
            "the bytes do not open with {} of their version: they or the file were changed, or they \
             are another tenant's. Check the Secret that is mounted as --local-kek-dir against \
             your backup: {SHOW_POD}",
            key.id()
        ),
    )
    .with_bytes_refused()
}

pub fn no_random_bytes() -> Failure {
    Failure::transient(
        Reason::ProviderError,
        "the machine gave no random bytes; look at the node: kubectl describe node '<node>'",
    )
}
