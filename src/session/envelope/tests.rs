use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const UID: &str = "00112233445566778899aabbccddeeff";

fn key(first: u8) -> MasterKey {
    let bytes = (first..first + 32).collect();
    MasterKey::from_bytes(Zeroizing::new(bytes)).expect("32 bytes")
}

fn id() -> KeyId {
    KeyId::parse("0f0e0d0c0b0a09080706050403020100").expect("an id")
}

fn sealed(plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
    seal(&key(0), UID, &id(), plaintext, aad).expect("sealed")
}

#[test]
fn what_was_sealed_opens_for_the_same_key_tenant_id_and_aad_and_for_no_other() {
    let blob = sealed(b"plaintext", b"aad");
    assert_eq!(key_id(&blob), Ok(id()));
    let opened = open(&key(0), UID, &id(), &blob, b"aad").expect("opens");
    assert_eq!(&**opened, b"plaintext");
    let other = KeyId::from_bytes([7; 16]);
    for (n, refused) in [
        open(&key(1), UID, &id(), &blob, b"aad"),
        open(&key(0), "another", &id(), &blob, b"aad"),
        open(&key(0), UID, &other, &blob, b"aad"),
        open(&key(0), UID, &id(), &blob, b""),
        open(&key(0), UID, &id(), &blob, b"aaD"),
        open(&key(0), UID, &id(), &blob, &[0; MOST_AAD + 1]),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(refused, Err(Refused), "{n}");
    }
}

#[test]
fn every_bit_and_every_byte_counts() {
    let blob = sealed(b"ab", b"aad");
    assert_eq!(blob.len(), HEADER_LEN + 2 + TAG_LEN);
    let opens = |blob: &[u8]| {
        let said = key_id(blob).unwrap_or(id());
        [id(), said].map(|id| open(&key(0), UID, &id, blob, b"aad").is_ok())
    };
    assert_eq!(opens(&blob), [true; 2]);
    for bit in 0..8 * blob.len() {
        let mut changed = blob.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(opens(&changed), [false; 2], "bit {bit}");
    }
    for length in 0..blob.len() {
        assert_eq!(opens(&blob[..length]), [false; 2], "{length} bytes");
    }
    assert_eq!(opens(&[&blob[..], &[0]].concat()), [false; 2]);
}

#[test]
fn a_key_id_is_read_from_whatever_has_the_form() {
    let blob = sealed(b"", b"");
    assert_eq!(key_id(&blob[..blob.len() - 1]), Err(Malformed));
    for changed in 0..MAGIC.len() {
        let mut other = blob.clone();
        other[changed] ^= 1;
        assert_eq!(key_id(&other), Err(Malformed), "byte {changed}");
    }
    let most = HEADER_LEN + MOST_PLAINTEXT + TAG_LEN;
    let long = |length| [&blob[..HEADER_LEN], &vec![0; length - HEADER_LEN]].concat();
    assert_eq!(key_id(&long(most)), Ok(id()));
    assert_eq!(key_id(&long(most + 1)), Err(Malformed));
}

#[test]
fn the_longest_is_sealed_and_opened_and_nothing_longer() {
    let (plaintext, aad) = (vec![5; MOST_PLAINTEXT], vec![6; MOST_AAD]);
    let blob = sealed(&plaintext, &aad);
    let opened = open(&key(0), UID, &id(), &blob, &aad).expect("opens");
    assert!(*opened == plaintext);
    let longer = |plaintext: &[u8], aad: &[u8]| seal(&key(0), UID, &id(), plaintext, aad);
    let refused = longer(&vec![5; MOST_PLAINTEXT + 1], b"");
    assert_eq!(refused, Err(Unsealed::TooLong));
    let refused = longer(b"", &[6; MOST_AAD + 1]);
    assert_eq!(refused, Err(Unsealed::TooLong));
}

#[test]
fn no_salt_comes_twice_and_no_room_is_left_over() {
    let mut salts = HashSet::new();
    for _ in 0..1_000 {
        let blob = sealed(&[1; 1024], b"");
        assert_eq!(blob.capacity(), blob.len());
        assert!(salts.insert(blob[20..52].to_vec()), "the salt came before");
    }
}

#[test]
fn nothing_that_is_printed_tells_a_key() {
    let message_key = key(0).message_key(UID, &id(), &[0; 32]);
    assert_eq!(format!("{message_key:?}"), "MessageKey");
}

proptest! {
    #[test]
    fn any_bytes_come_back_as_they_were(
        plaintext in prop::collection::vec(any::<u8>(), 0..300),
        aad in prop::collection::vec(any::<u8>(), 0..100),
        uid in ".{0,40}",
        other_aad in prop::collection::vec(any::<u8>(), 0..3),
        other_uid in ".{0,2}",
    ) {
        let blob = seal(&key(0), &uid, &id(), &plaintext, &aad).expect("sealed");
        let opened = open(&key(0), &uid, &id(), &blob, &aad);
        prop_assert_eq!(opened.as_deref(), Ok(&plaintext));
        if other_aad != aad {
            prop_assert_eq!(open(&key(0), &uid, &id(), &blob, &other_aad), Err(Refused));
        }
        if other_uid != uid {
            prop_assert_eq!(open(&key(0), &other_uid, &id(), &blob, &aad), Err(Refused));
        }
    }

    #[test]
    fn whatever_arrives_is_refused(blob in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(open(&key(0), UID, &id(), &blob, b""), Err(Refused));
        let dressed = [&MAGIC[..], &id().to_bytes(), &blob].concat();
        prop_assert_eq!(open(&key(0), UID, &id(), &dressed, b""), Err(Refused));
    }
}
