//! What is verified is exactly what was issued, and what is issued is verified.

use std::sync::LazyLock;

use tenant_kms::provider::TenantId;
use tenant_kms::record::keyring::{KeyId, MasterKey, SessionKey};
use tenant_kms::session::token::{Caller, Claims, Expected, MOST, Refused, Unverified, issue};

use crate::mutate::Dice;

const UID: &str = "00112233445566778899aabbccddeeff";
const NOW: u64 = 1_800_000_000;
/// By the terms in force.
const TTL: u64 = 300;
const CALLER: [u8; 32] = [0xc0; 32];

static KEY: LazyLock<SessionKey> = LazyLock::new(|| {
    let key = MasterKey::from_bytes((0..32).collect::<Vec<u8>>().into());
    let id = KeyId::from_bytes([7; KeyId::LENGTH]);
    key.expect("32 bytes").session_key(UID, &id)
});

/// All that was ever issued with this key, each refused for one reason or for none. They stand in
/// the corpus too.
static ISSUED: LazyLock<Vec<(String, Result<Claims, Refused>)>> = LazyLock::new(|| {
    let good = Claims {
        tenant: TenantId::new("tenants", "acme"),
        key_id: KeyId::from_bytes([7; KeyId::LENGTH]),
        epoch: 3,
        issued: NOW - 10,
        expires: NOW + 290,
        caller: Caller::of(&CALLER),
    };
    let with = |wanted: Option<Refused>, change: fn(&mut Claims)| {
        let mut claims = good.clone();
        change(&mut claims);
        let token = issue(&KEY, UID, &claims).expect("a tenant's name");
        (token, wanted.map_or(Ok(claims), Err))
    };
    vec![
        with(None, |_| {}),
        with(None, |claims| claims.tenant = TenantId::new("n", "a.b-c")),
        with(Some(Refused::Expired), |claims| claims.expires = NOW),
        // Of other terms: too old by those in force.
        with(Some(Refused::Expired), |claims| claims.issued = NOW - TTL),
        with(Some(Refused::FromTheFuture), |claims| {
            claims.issued = NOW + 61;
        }),
        with(Some(Refused::EarlierEpoch), |claims| claims.epoch = 2),
        with(Some(Refused::OtherCaller), |claims| {
            claims.caller = Caller::of(&[0; 32]);
        }),
    ]
});

fn verify(token: &str, expected: &Expected<'_>) -> Result<Claims, Refused> {
    Unverified::parse(token)?.verify(&KEY, expected)
}

pub fn check(input: &[u8]) -> u64 {
    let token = String::from_utf8_lossy(input);
    issued(input) << 8 | verified(&token)
}

/// The input as a token.
fn verified(token: &str) -> u64 {
    let expected = Expected {
        tenant_uid: UID,
        caller: Caller::of(&CALLER),
        epoch: 3,
        ttl: TTL,
        now: NOW,
    };
    let result = verify(token, &expected);
    let mut issued = ISSUED.iter();
    let Some((_, wanted)) = issued.find(|(issued, _)| issued == token) else {
        let forms = [Err(Refused::Malformed), Err(Refused::Forged)];
        assert!(
            forms.contains(&result),
            "{token} was never issued: {result:?}"
        );
        assert!(token.len() <= MOST || result == Err(Refused::Malformed));
        return u64::from(result == Err(Refused::Forged));
    };
    assert_eq!(result, *wanted, "{token}");
    result.map_or_else(|refused| 3 + refused as u64, |_| 2)
}

/// The input as claims.
fn issued(input: &[u8]) -> u64 {
    let mut dice = Dice(0);
    for chunk in input.chunks(8) {
        let number = chunk
            .iter()
            .fold(0, |all, byte| all << 8 | u64::from(*byte));
        dice.0 ^= number;
        dice.draw();
    }
    let possible = |c: &char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '.' | '/');
    let text = String::from_utf8_lossy(&input[..input.len().min(400)]);
    let text: String = text.chars().filter(possible).collect();
    let (namespace, name) = text.split_once('/').unwrap_or(("tenants", &text));
    let claims = Claims {
        tenant: TenantId::new(namespace, name),
        key_id: KeyId::from_bytes([dice.draw().to_le_bytes()[0]; KeyId::LENGTH]),
        epoch: dice.draw(),
        issued: dice.draw(),
        expires: dice.draw(),
        caller: Caller::of(&[dice.draw().to_le_bytes()[0]; 32]),
    };
    let Some(token) = issue(&KEY, UID, &claims) else {
        return 1;
    };
    assert!(token.len() <= MOST, "{} bytes", token.len());
    let ttl = dice.draw();
    let expected = |now| Expected {
        tenant_uid: UID,
        caller: claims.caller,
        epoch: claims.epoch,
        ttl,
        now,
    };
    let expires = claims.issued.saturating_add(ttl).min(claims.expires);
    let earliest = claims.issued.saturating_sub(60);
    let last = expires.saturating_sub(1);
    for now in [earliest, last] {
        let wanted = if now < earliest {
            Err(Refused::FromTheFuture)
        } else if now >= expires {
            Err(Refused::Expired)
        } else {
            let claims = claims.clone();
            Ok(Claims { expires, ..claims })
        };
        assert_eq!(verify(&token, &expected(now)), wanted, "at {now}");
    }
    let mut changed = token.into_bytes();
    let place = dice.below(changed.len());
    changed[place] = changed[place].wrapping_add(1) & 0x7f;
    let changed = String::from_utf8_lossy(&changed);
    let refused = verify(&changed, &expected(last));
    let forms = [Err(Refused::Malformed), Err(Refused::Forged)];
    assert!(forms.contains(&refused), "{changed}: {refused:?}");
    2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;

    #[test]
    fn what_was_issued_stands_in_the_corpus() {
        let target = Target::named("session_token").expect("a target");
        let corpus = target.corpus().expect("a folder of inputs");
        for (token, _) in ISSUED.iter() {
            assert!(
                corpus.iter().any(|kept| kept == token.as_bytes()),
                "{token}"
            );
        }
    }
}
