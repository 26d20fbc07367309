//! The right to read one variable. A name that was not granted is never repeated in a message:
//! what stands there may be a secret that was pasted in the wrong place.

use crate::api::Reason;
use crate::provider::{Failure, TenantId};

/// The name of a variable that a policy granted. Only this can be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedVariable(String);

impl AllowedVariable {
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// A letter or `_`, then letters, digits or `_`; at most 128, as at admission. Safe as a file name.
pub fn is_variable_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && text.len() <= 128 && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub(super) fn allow<'a, I>(
    tenant: &TenantId,
    name: &str,
    granted: impl Fn() -> I,
) -> Result<AllowedVariable, Failure>
where
    I: Iterator<Item = &'a str>,
{
    if granted().any(|known| known == name) {
        return Ok(AllowedVariable(name.to_owned()));
    }
    let near = granted()
        .map(|known| (distance(&folded(known), &folded(name)), known))
        .filter(|(distance, known)| *distance <= known.len() / 8)
        .min();
    let suggestion = near
        .map(|(_, known)| format!(" Did you mean {known}?"))
        .unwrap_or_default();
    if !is_variable_name(name) {
        return Err(Failure::misconfigured(
            Reason::EnvVarNotFound,
            format!(
                "spec.azure.clientSecret.envVar is not the name of a variable, and it is not \
                 repeated here because it may be a secret.{suggestion} Write the name of a \
                 variable there, and if a secret was pasted replace it at its issuer: az ad app \
                 credential reset --id '<application id>'"
            ),
        ));
    }
    Err(Failure::denial(
        Reason::NotAllowed,
        format!(
            "the operator's configuration does not let tenant {tenant} use the variable that \
             spec.azure.clientSecret.envVar names.{suggestion} Check the spelling, or add \
             '{tenant}' to the tenants of that variable under clientSecretVariables, then: \
             tenant-kms config check '<file>'"
        ),
    ))
}

fn folded(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// Levenshtein's distance, over bytes: the names compared are short and ASCII.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 8 || b.len() > 128 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Kind;

    const GRANTED: [&str; 2] = ["AZURE_KC_CLIENT_SECRET", "OTHER"];

    fn ask(name: &str) -> Result<AllowedVariable, Failure> {
        allow(&TenantId::new("tenants", "acme"), name, || {
            GRANTED.iter().copied()
        })
    }

    #[test]
    fn only_the_exact_name_is_allowed() {
        assert_eq!(
            ask("OTHER").map(|v| v.name().to_owned()),
            Ok("OTHER".to_owned())
        );
        for name in ["other", "OTHERS", "PATH", "AZURE_KC_CLIENT_SECRE"] {
            let failure = ask(name).expect_err(name);
            assert_eq!(
                (failure.kind, failure.reason),
                (Kind::Denial, Reason::NotAllowed)
            );
        }
    }

    #[test]
    fn a_near_miss_is_suggested_and_never_repeated() {
        for name in [
            "azure_kc_client_secret",
            "AZURE-KC-CLIENT-SECRET",
            "AZURE_KV_CLIENT_SECRET",
        ] {
            let failure = ask(name).expect_err(name);
            assert!(
                failure
                    .message
                    .contains("Did you mean AZURE_KC_CLIENT_SECRET?"),
                "{failure}"
            );
            assert!(!failure.message.contains(name), "{failure}");
        }
        let failure = ask("KUBERNETES_SERVICE_HOST").expect_err("not granted");
        assert!(!failure.message.contains("Did you mean"), "{failure}");
    }

    #[test]
    fn a_pasted_secret_is_refused_without_being_repeated() {
        for secret in [
            "Zq8~Q.abcdefghijklmnopqrstuvwxyz0123456",
            "AKIAIOSFODNN7EXAMPLE",
            "../x",
            "",
        ] {
            let failure = ask(secret).expect_err(secret);
            assert!(
                secret.is_empty() || !failure.to_string().contains(secret),
                "{failure}"
            );
        }
        assert_eq!(
            ask("a b").expect_err("not a name").reason,
            Reason::EnvVarNotFound
        );
    }
}
