//! The token of a tenant's `ServiceAccount`, as it is shown to Google's STS: for one provider and
//! nothing else. What it says of itself stands in messages, so its form is checked.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::credentials::Secret;

#[derive(Debug)]
pub struct Assertion {
    pub token: Secret,
    pub issuer: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Value,
}

/// cloud.google.com/iam/docs, "Configure Workload Identity Federation with Kubernetes": what a provider
/// takes unless it says otherwise.
pub fn audience(provider: &str) -> String {
    format!("https://iam.googleapis.com/{provider}")
}

impl Assertion {
    /// `None` when it is not a token of `subject` for this audience alone.
    pub fn of(token: Secret, audience: &str, subject: &str) -> Option<Self> {
        let payload = token.expose().split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims: Claims = serde_json::from_slice(&payload).ok()?;
        let alone = match &claims.aud {
            Value::String(one) => one == audience,
            Value::Array(all) => all.len() == 1 && all[0] == audience,
            _ => false,
        };
        let plain = (1..=512).contains(&claims.iss.len())
            && claims
                .iss
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~:/".contains(&b));
        (alone && plain && claims.sub == subject).then_some(Self {
            token,
            issuer: claims.iss,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDER: &str = "projects/1/locations/global/workloadIdentityPools/pool/providers/name";
    const SUBJECT: &str = "system:serviceaccount:a:b";

    fn assertion(claims: &Value) -> Option<Assertion> {
        let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
        let token = Secret::from_bytes(format!("h.{payload}.s").into_bytes()).expect("a text");
        Assertion::of(token, &audience(PROVIDER), SUBJECT)
    }

    #[test]
    fn only_a_token_for_this_provider_alone_is_shown() {
        let good = audience(PROVIDER);
        let claims =
            |aud: Value| serde_json::json!({ "iss": "https://i.test", "sub": SUBJECT, "aud": aud });
        for aud in [good.clone().into(), serde_json::json!([good])] {
            assert!(assertion(&claims(aud)).is_some());
        }
        for aud in [
            "https://kubernetes.default.svc".into(),
            serde_json::json!([good, "https://kubernetes.default.svc"]),
            serde_json::json!([]),
            Value::Null,
        ] {
            assert!(assertion(&claims(aud.clone())).is_none(), "{aud}");
        }
        let mut other = claims(good.clone().into());
        other["sub"] = "system:serviceaccount:a:c".into();
        assert!(assertion(&other).is_none());
        let mut odd = claims(good.into());
        odd["iss"] = "';rm".into();
        assert!(assertion(&odd).is_none());
    }
}
