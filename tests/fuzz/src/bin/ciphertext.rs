//! Seals and opens for tests in other languages: one JSON object for each line of the input. Bytes
//! are in base64.
//!
//! `{"do":"seal","master_key":…,"tenant_uid":…,"key_id":…,"data":…,"aad":…}` answers `{"data":…}`;
//! `{"do":"open",…}`, without `key_id`, the same or `{"data":null}`.

use std::io::{BufRead, Write, stdin, stdout};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tenant_kms::record::keyring::{KeyId, MasterKey};
use tenant_kms::session::envelope;

fn main() -> Result<()> {
    for line in stdin().lock().lines() {
        let data = answer(&serde_json::from_str(&line?)?)?;
        let mut out = stdout().lock();
        writeln!(
            out,
            "{}",
            json!({"data": data.map(|data| STANDARD.encode(data))})
        )?;
        out.flush()?;
    }
    Ok(())
}

fn answer(asked: &Value) -> Result<Option<Vec<u8>>> {
    let text = |name| asked[name].as_str().with_context(|| format!("no {name}"));
    let bytes = |name| Ok::<_, anyhow::Error>(STANDARD.decode(text(name)?)?);
    let key = MasterKey::from_bytes(bytes("master_key")?.into()).context("not 32 bytes")?;
    let (uid, data, aad) = (text("tenant_uid")?, bytes("data")?, bytes("aad")?);
    match text("do")? {
        "seal" => {
            let id = KeyId::parse(text("key_id")?).context("not a key id")?;
            Ok(Some(envelope::seal(&key, uid, &id, &data, &aad)?))
        }
        "open" => {
            let opened = envelope::key_id(&data)
                .ok()
                .and_then(|id| envelope::open(&key, uid, &id, &data, &aad).ok());
            Ok(opened.map(|plaintext| plaintext.to_vec()))
        }
        other => bail!("cannot {other}"),
    }
}
