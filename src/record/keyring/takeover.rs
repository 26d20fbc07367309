//! Takes over a key that the customer's key wrapped before this operator came: opened once, then wrapped
//! and committed to like any other. Nothing is kept of it that did not open to a master key.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::wrapping::{Opened, lock};
use super::{Locked, MasterKey, problem};
use crate::api::ImportFrom;
use crate::provider::{Failure, Kms, probe};

/// More than any key service makes of 32 bytes, in base64 and broken into lines.
const MOST_BYTES: usize = 16 * 1024;

/// `foreign` is the value of the Secret that `from` names; `kms` was proved just now.
pub async fn take(
    kms: &dyn Kms,
    tenant_uid: &str,
    from: &ImportFrom,
    foreign: &[u8],
) -> Result<(Locked, Opened), Failure> {
    if foreign.is_empty() || foreign.len() > MOST_BYTES {
        return Err(problem::no_wrapped_key("is empty or far too long for one"));
    }
    let wrapped = decoded(foreign);
    let (algorithm, version) = (from.algorithm.as_str(), from.kek_version.as_deref());
    let opened = match kms.unwrap_foreign(algorithm, version, &wrapped).await {
        Ok(bytes) => bytes,
        // Not these bytes: is it the key, or is it the bytes?
        Err(failure) if failure.bytes_refused => {
            return Err(match probe(kms, tenant_uid).await {
                Ok(_) => problem::no_wrapped_key("does not open with that key"),
                Err(_) => failure,
            });
        }
        Err(failure) => return Err(failure),
    };
    let key = MasterKey::from_bytes(opened)
        .ok_or_else(|| problem::no_wrapped_key("opens to something else than 32 bytes"))?;
    lock(kms, tenant_uid, key).await
}

/// Text in base64 or base64url, broken into lines or not, is what it stands for; anything else is
/// taken as it is. Wrapped bytes are random: hundreds of them are never such a text by chance.
fn decoded(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(
        value
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect(),
    );
    [STANDARD, URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(&*text).ok())
        .map_or_else(|| Zeroizing::new(value.to_vec()), Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn base64_of_either_kind_is_decoded_and_other_bytes_are_left_alone() {
        let raw: Vec<u8> = (0..=255).cycle().take(384).collect();
        let standard = STANDARD.encode(&raw);
        let lines: Vec<String> = standard
            .as_bytes()
            .chunks(76)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let url = URL_SAFE_NO_PAD.encode(&raw);
        assert!(standard.contains('+') && url.contains('-'));
        for text in [format!("{}\n", lines.join("\n")), standard, url] {
            assert_eq!(*decoded(text.as_bytes()), raw, "{text}");
        }
        assert_eq!(*decoded(&raw), raw);
        // Also when it begins or ends like a line.
        let mut spaced = raw.clone();
        spaced[0] = b' ';
        spaced[383] = b'\n';
        assert_eq!(*decoded(&spaced), spaced);
    }
}
