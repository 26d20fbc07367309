//! Random bytes from the cryptographic library's generator; also the jitter of every loop.

use std::fmt::Write;

/// The system could not give random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct Unavailable;

/// `N` random bytes in lower-case hex.
pub fn hex<const N: usize>() -> Result<String, Unavailable> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Unavailable)?;
    Ok(encode_hex(&bytes))
}

pub fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}"); // writing to a String cannot fail
        out
    })
}

/// A fraction in 0..1 for jitter. Half when the system has no random bytes: a loop must go on.
pub fn fraction() -> f64 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}
