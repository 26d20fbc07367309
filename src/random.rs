//! Random bytes from the cryptographic library's generator; also the jitter of every loop.

/// The system could not give random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct Unavailable;

pub fn bytes<const N: usize>() -> Result<[u8; N], Unavailable> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Unavailable)?;
    Ok(bytes)
}

/// `N` random bytes in lower-case hex.
pub fn hex<const N: usize>() -> Result<String, Unavailable> {
    bytes::<N>().map(|bytes| encode_hex(&bytes))
}

pub fn encode_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        out.extend([digit(byte >> 4), digit(byte & 0xf)]);
    }
    out
}

/// Exactly `N` bytes in lower-case hex.
pub fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut out = [0; N];
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

/// A fraction in 0..1 for jitter. Half when the system has no random bytes: a loop must go on.
pub fn fraction() -> f64 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_as_it_is_written_and_nothing_else_is() {
        let bytes = [0, 1, 0x7f, 0x80, 0xff];
        assert_eq!(decode_hex(&encode_hex(&bytes)), Some(bytes));
        for wrong in ["", "0", "000", "0G", "0A", "é0", "00ff"] {
            assert_eq!(decode_hex::<1>(wrong), None, "{wrong}");
        }
    }
}
