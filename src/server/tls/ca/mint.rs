//! Makes authorities, and certificates that one issues. ECDSA P-256.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::Trouble;
use super::authority::Authority;
use crate::random;
use crate::server::tls::pair::{Pair, Validity};

const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A client whose clock is behind takes a new certificate all the same.
const BACKDATED: SignedDuration = SignedDuration::from_mins(10);

pub fn authority(now: Timestamp) -> Result<Authority, Trouble> {
    let key = key()?;
    let random = random::hex::<4>().map_err(|_| Trouble::Unmade("no random bytes"))?;
    // Each has another name: what looks up issuers by name finds the right one.
    let mut params = params(&format!("tenant-kms agent CA {random}"), Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let validity = validity(now, AUTHORITY_LIFE);
    limit(&mut params, validity);
    let made = params.self_signed(&*key).map_err(unsigned)?;
    Ok(Authority {
        certificate: made.pem(),
        key: Some(Zeroizing::new(key.serialize_pem())),
        validity,
        published: None,
    })
}

/// A certificate for `names`, good until the issuer ends at most.
pub fn leaf(issuer: &Authority, names: &[String], now: Timestamp) -> Result<Pair, Trouble> {
    const UNUSABLE: Trouble = Trouble::Unmade("the CA's certificate or key cannot be used");
    let pem = issuer.key.as_ref().ok_or(UNUSABLE)?;
    let signer = Zeroizing::new(KeyPair::from_pem(pem).map_err(|_| UNUSABLE)?);
    let authority = Issuer::from_ca_cert_pem(&issuer.certificate, &*signer);
    let authority = authority.map_err(|_| UNUSABLE)?;
    let key = key()?;
    let mut params = params("tenant-kms agent", names.to_vec())?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut validity = validity(now, LEAF_LIFE);
    validity.until = validity.until.min(issuer.validity.until);
    limit(&mut params, validity);
    let made = params.signed_by(&*key, &authority).map_err(unsigned)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Pair::of(vec![made.der().clone()], private).map_err(|_| UNUSABLE)
}

fn key() -> Result<Zeroizing<KeyPair>, Trouble> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
    key.map(Zeroizing::new)
        .map_err(|_| Trouble::Unmade("no key could be generated"))
}

fn params(common_name: &str, names: Vec<String>) -> Result<CertificateParams, Trouble> {
    let params = CertificateParams::new(names);
    let mut params = params.map_err(|_| Trouble::Unmade("a name cannot be in a certificate"))?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

/// In whole seconds, as certificates have it.
fn validity(now: Timestamp, life: SignedDuration) -> Validity {
    let at = |by: SignedDuration| now.saturating_add(by).unwrap_or(now);
    let whole = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
    Validity {
        from: whole(at(-BACKDATED)),
        until: whole(at(life)),
    }
}

fn limit(params: &mut CertificateParams, validity: Validity) {
    let date = |at: Timestamp| {
        let seconds = u64::try_from(at.as_second()).unwrap_or_default();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    params.not_before = date(validity.from);
    params.not_after = date(validity.until);
}

fn unsigned(_: rcgen::Error) -> Trouble {
    Trouble::Unmade("it could not be signed")
}
