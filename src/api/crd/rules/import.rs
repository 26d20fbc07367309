//! A key that is taken over from elsewhere: how it may have been wrapped depends on the provider, so
//! the rules stand on spec. It may change and go at any time: it counts once.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

use super::super::rule::{matches, rule, rule_with_hints};

const FIELD: &str = "masterKey.importFrom";

pub(super) fn spec() -> Vec<ValidationRule> {
    let absent = "!has(self.masterKey) || !has(self.masterKey.importFrom)";
    vec![
        rule(
            format!("{absent} || self.provider == 'azure'"),
            FIELD,
            "a key is taken over from provider azure only: remove importFrom",
        ),
        rule_with_hints(
            format!(
                "{absent} || self.provider != 'azure' || \
                 self.masterKey.importFrom.algorithm in ['RSA-OAEP-256', 'RSA-OAEP']"
            ),
            FIELD,
            &[(
                "self.masterKey.importFrom.algorithm.upperAscii() in ['RSA1_5', 'RSA-1_5']",
                "algorithm RSA1_5 is not opened, its padding gives a key away: unwrap the key where \
                 it was wrapped and wrap it again with RSA-OAEP-256",
            )],
            "write algorithm RSA-OAEP-256 or RSA-OAEP, as the key was wrapped",
        ),
        rule(
            format!(
                "{absent} || self.provider != 'azure' || \
                 !has(self.masterKey.importFrom.kekVersion) || {}",
                matches("masterKey.importFrom.kekVersion", "[0-9a-zA-Z]{32}")
            ),
            FIELD,
            "kekVersion has 32 letters and digits: az keyvault key list-versions --vault-name NAME \
             --name KEY --query [].kid lists them",
        ),
    ]
}
