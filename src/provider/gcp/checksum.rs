//! CRC32C (Castagnoli) as Cloud KMS checks and gives it: it finds what was changed by accident between
//! the two ends. It proves nothing about who changed it; that TLS and AES-GCM do.

use serde_json::Value;

/// RFC 3720, appendix B.4. Bit by bit: what is wrapped is short.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 * (crc & 1))
        })
    })
}

/// Whether `said` is the checksum of `bytes`. In JSON an int64 is a string; a number is understood too.
pub fn fits(said: &Value, bytes: &[u8]) -> bool {
    let said = match said {
        Value::String(text) => text.parse().ok(),
        said => said.as_u64(),
    };
    said == Some(u64::from(crc32c(bytes)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_examples_of_rfc_3720() {
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn only_the_same_bytes_fit() {
        assert!(fits(&json!("3808858755"), b"123456789"));
        assert!(fits(&json!(3_808_858_755_u32), b"123456789"));
        for other in [
            json!("1"),
            json!(null),
            json!(""),
            json!("-486108541"),
            json!(true),
        ] {
            assert!(!fits(&other, b"123456789"), "{other}");
        }
        assert!(!fits(&json!("3808858755"), b"123456780"));
    }
}
