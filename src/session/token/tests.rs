use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::policy::pattern::is_dns_name;
use crate::record::keyring::MasterKey;

const UID: &str = "00112233445566778899aabbccddeeff";
const NOW: u64 = 1_800_000_000;
/// Of [`claims`].
const FIXED: &str = "tks1_AQ8ODQwLCgkIBwYFBAMCAQAAAAAAAAAAAwAAAABrSdIAAAAAAGtJ0yzAwMDAwMDAwMDAwMDAwMDAAAx0ZW5hbnRzL2FjbWWcSJfcwbbMKqwWCvgzAaSNJzmk0fpf_DIObpnEMtjN7g";

fn id() -> KeyId {
    KeyId::parse("0f0e0d0c0b0a09080706050403020100").expect("an id")
}

fn master(first: u8) -> MasterKey {
    let bytes = (first..first + 32).collect();
    MasterKey::from_bytes(Zeroizing::new(bytes)).expect("32 bytes")
}

fn key() -> SessionKey {
    master(0).session_key(UID, &id())
}

fn claims() -> Claims {
    Claims {
        tenant: TenantId::new("tenants", "acme"),
        key_id: id(),
        epoch: 3,
        issued: NOW,
        expires: NOW + 300,
        caller: Caller::of(&[0xc0; 32]),
    }
}

fn token(claims: &Claims) -> String {
    issue(&key(), UID, claims).expect("a tenant's name")
}

fn expected() -> Expected<'static> {
    Expected {
        tenant_uid: UID,
        caller: Caller::of(&[0xc0; 32]),
        epoch: 3,
        ttl: 300,
        now: NOW,
    }
}

fn verify(token: &str, expected: &Expected<'_>) -> Result<Claims, Refused> {
    Unverified::parse(token)?.verify(&key(), expected)
}

#[test]
fn a_token_has_a_fixed_form() {
    // Python: HKDF(SHA256, 32, b"tenantkms.dev/v1", info).derive(bytes(range(32))), where info is
    // each of session, the uid and the id after its length in eight bytes; with it
    // hmac.digest(key, (32).to_bytes(8, "big") + uid + body, "sha256"); base64url of body + mac.
    assert_eq!(token(&claims()), FIXED);
    let parsed = Unverified::parse(FIXED).expect("a token");
    assert_eq!(*parsed.tenant(), TenantId::new("tenants", "acme"));
    assert_eq!(*parsed.key_id(), id());
    assert_eq!(verify(FIXED, &expected()), Ok(claims()));
}

#[test]
fn it_is_refused_for_what_is_wrong() {
    let token = token(&claims());
    let with = |change: fn(&mut Expected<'_>)| {
        let mut other = expected();
        change(&mut other);
        verify(&token, &other).map(|_| ())
    };
    for (n, (result, wanted)) in [
        (with(|e| e.now = NOW + 299), Ok(())),
        (with(|e| e.now = NOW + 300), Err(Refused::Expired)),
        (with(|e| e.now = NOW - 60), Ok(())),
        (with(|e| e.now = NOW - 61), Err(Refused::FromTheFuture)),
        (with(|e| e.now = 0), Err(Refused::FromTheFuture)),
        (with(|e| e.now = u64::MAX), Err(Refused::Expired)),
        (with(|e| (e.ttl, e.now) = (60, NOW + 59)), Ok(())),
        (
            with(|e| (e.ttl, e.now) = (60, NOW + 60)),
            Err(Refused::Expired),
        ),
        (
            with(|e| (e.ttl, e.now) = (u64::MAX, NOW + 300)),
            Err(Refused::Expired),
        ),
        (with(|e| e.epoch = 4), Err(Refused::EarlierEpoch)),
        (with(|e| e.epoch = 2), Ok(())),
        (
            with(|e| e.caller = Caller::of(&[0xc1; 32])),
            Err(Refused::OtherCaller),
        ),
        (with(|e| e.tenant_uid = "another"), Err(Refused::Forged)),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(result, wanted, "{n}");
    }
}

#[test]
fn it_ends_when_the_spec_in_force_says_so_and_never_later_than_it_says() {
    let token = token(&claims());
    for (ttl, ends) in [(60, 60), (300, 300), (86_400, 300), (u64::MAX, 300)] {
        let expected = Expected { ttl, ..expected() };
        let ended = verify(&token, &expected).map(|claims| claims.expires);
        assert_eq!(ended, Ok(NOW + ends), "{ttl}");
    }
}

#[test]
fn nothing_is_believed_before_the_mac() {
    let mut expected = expected();
    (expected.now, expected.epoch) = (u64::MAX, u64::MAX);
    expected.caller = Caller::of(&[0; 32]);
    let token = token(&claims());
    let other_id = KeyId::from_bytes([9; 16]);
    for wrong in [
        master(1).session_key(UID, &id()),
        master(0).session_key("another", &id()),
        master(0).session_key(UID, &other_id),
    ] {
        let parsed = Unverified::parse(&token).expect("a token");
        assert_eq!(parsed.verify(&wrong, &expected), Err(Refused::Forged));
    }
}

#[test]
fn every_bit_counts_and_no_second_text_is_the_same_token() {
    let token = token(&claims());
    let encoded = token.strip_prefix(PREFIX).expect("the prefix");
    let bytes = URL_SAFE_NO_PAD.decode(encoded).expect("base64url");
    for bit in 0..8 * bytes.len() {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(changed));
        let refused = verify(&text, &expected()).expect_err("changed");
        let form = [Refused::Malformed, Refused::Forged];
        assert!(form.contains(&refused), "bit {bit}: {refused:?}");
    }
    for text in token
        .char_indices()
        .flat_map(|(at, _)| ['A', 'B', '=', ' '].map(|other| (at, other)))
        .filter(|(at, other)| !token[*at..].starts_with(*other))
        .map(|(at, other)| format!("{}{other}{}", &token[..at], &token[at + 1..]))
    {
        assert!(verify(&text, &expected()).is_err(), "{text}");
    }
    for text in [
        format!("{token}="),
        format!(" {token}"),
        token.replace('_', "-"),
    ] {
        assert_eq!(verify(&text, &expected()), Err(Refused::Malformed));
    }
}

#[test]
fn only_the_form_is_read() {
    let body = |tenant: &str| {
        let mut bytes = claims().encode().expect("a name");
        bytes.truncate(FIXED_LEN - 2);
        bytes.extend_from_slice(&u16::try_from(tenant.len()).expect("short").to_be_bytes());
        bytes.extend_from_slice(tenant.as_bytes());
        bytes
    };
    let text = |body: &[u8]| {
        let mac = sign(&key(), UID, body);
        let bytes = [body, mac.as_ref()].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    let longest = format!("{}/{}", "n".repeat(63), vec!["n".repeat(62); 4].join("."));
    for good in ["tenants/acme", &longest] {
        let parsed = verify(&text(&body(good)), &expected()).expect("a token");
        assert_eq!(parsed.tenant.to_string(), good);
    }
    let namespace = format!("{}/acme", "n".repeat(64));
    for wrong in [
        "", "/", "acme", "/acme", "tenants/", "a/b/c", "a/B", "a/b\n", "a/é", &namespace,
    ] {
        let refused = verify(&text(&body(wrong)), &expected());
        assert_eq!(refused, Err(Refused::Malformed), "{wrong:?}");
    }
    let good = body("tenants/acme");
    let mut other_format = good.clone();
    other_format[0] = 2;
    let mut longer_name = good.clone();
    longer_name[FIXED_LEN - 1] += 1;
    for (n, wrong) in [
        other_format,
        longer_name,
        good[..FIXED_LEN].to_vec(),
        Vec::new(),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            verify(&text(&wrong), &expected()),
            Err(Refused::Malformed),
            "{n}"
        );
    }
    for wrong in ["", "tks1_", "tks2_AAAA", &"x".repeat(1_000_000)] {
        assert_eq!(verify(wrong, &expected()), Err(Refused::Malformed));
    }
}

#[test]
fn no_token_is_issued_that_could_not_be_read_and_the_longest_can() {
    let named = |namespace: &str, name: &str| Claims {
        tenant: TenantId::new(namespace, name),
        ..claims()
    };
    let label = "n".repeat(63);
    let longest = [label.as_str(), &label, &label, &label[..61]].join(".");
    let longest = named(&label, &longest);
    let text = token(&longest);
    assert!(
        text.len() <= MOST && text.len() + 4 > MOST,
        "{}",
        text.len()
    );
    assert_eq!(verify(&text, &expected()), Ok(longest));
    for (namespace, name) in [("", "acme"), ("a/b", "c"), ("tenants", "Acme")] {
        assert_eq!(issue(&key(), UID, &named(namespace, name)), None);
    }
}

#[test]
fn sessions_and_messages_have_keys_of_their_own() {
    assert_eq!(format!("{:?}", key()), "SessionKey");
    let zero = master(0).message_key(UID, &id(), &[0; 32]);
    let signed = key().sign(&[b""]);
    let by_message = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, zero.cipher_key());
    let other = aws_lc_rs::hmac::sign(&by_message, b"");
    assert_ne!(signed.as_ref(), other.as_ref());
}

proptest! {
    #[test]
    fn any_claims_come_back_as_they_were(
        namespace in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
        name in "[a-z0-9]([a-z0-9.]{0,20}[a-z0-9])?",
        bytes: [u8; 16],
        digest: [u8; 32],
        epoch: u64,
        issued: u64,
        life in 1_u64..1_000,
    ) {
        prop_assume!(is_dns_name(&name));
        let said = Claims {
            tenant: TenantId::new(namespace, name),
            key_id: KeyId::from_bytes(bytes),
            epoch,
            issued,
            expires: issued.saturating_add(life),
            caller: Caller::of(&digest),
        };
        prop_assume!(said.expires > issued);
        let ttl = u64::MAX;
        let expected = Expected { tenant_uid: UID, caller: said.caller, epoch, ttl, now: issued };
        prop_assert_eq!(verify(&token(&said), &expected), Ok(said));
    }

    #[test]
    fn whatever_arrives_is_refused(text in "(tks1_)?[A-Za-z0-9_-]{0,300}") {
        prop_assert!(verify(&text, &expected()).is_err());
    }
}
