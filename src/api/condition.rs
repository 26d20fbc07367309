//! The conditions of a status: `metav1.Condition` with the words that this operator knows. There is one
//! list of them for each of many tenants, so that no word is kept as a text of its own.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::Reason;

/// What nearly all conditions of nearly all tenants say.
pub const WORKS: &str = "The key works: wrap and unwrap were proved.";
pub const IN_FORCE: &str = "This spec was verified and is in force.";
pub const NO_RISK: &str = "Nothing is known that endangers the key within 30 days.";
pub const NOTHING_TOLD: &str = "The provider tells nothing of the key's attributes.";
const USUAL: [&str; 4] = [WORKS, IN_FORCE, NO_RISK, NOTHING_TOLD];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Nothing for a word that is none of ours; so are status and reason.
    #[serde(rename = "type", deserialize_with = "word")]
    pub type_: Option<Aspect>,
    #[serde(deserialize_with = "word")]
    pub status: Option<Is>,
    #[serde(deserialize_with = "word")]
    pub reason: Option<Reason>,
    #[serde(deserialize_with = "read_message")]
    pub message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    pub last_transition_time: Time,
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aspect {
    Ready,
    Active,
    Sealed,
    ConfigAccepted,
    KeyAtRisk,
    Reconciling,
    Stalled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Is {
    True,
    False,
    Unknown,
}

impl Condition {
    /// Whether the operator can have written it.
    pub fn is_ours(&self) -> bool {
        self.type_.is_some() && self.status.is_some() && self.reason.is_some()
    }
}

/// A word that is none of ours is nothing, and is written over.
pub(super) fn word<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = Option::<Value>::deserialize(from)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

fn read_message<'de, D: Deserializer<'de>>(from: D) -> Result<Cow<'static, str>, D::Error> {
    String::deserialize(from).map(|text| message(&text))
}

/// A condition's message, without memory of its own where it is a usual one.
pub fn message(text: &str) -> Cow<'static, str> {
    let usual = USUAL.into_iter().find(|one| *one == text);
    usual.map_or_else(|| text.to_owned().into(), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    }

    fn read(value: &Value) -> Condition {
        serde_json::from_value(value.clone()).expect("a condition")
    }

    #[test]
    fn a_condition_of_ours_is_read_as_it_is_written() {
        for message in [WORKS, "Another."] {
            let value = condition("KeyAtRisk", "Unknown", "ProviderNotBuilt", message);
            let read = read(&value);
            assert_eq!(read.type_, Some(Aspect::KeyAtRisk));
            assert!(read.is_ours());
            assert_eq!(serde_json::to_value(read).expect("JSON"), value);
        }
    }

    #[test]
    fn a_word_of_others_differs_from_every_one_of_ours_and_hides_no_other() {
        let ours = read(&condition("Sealed", "True", "AccessDenied", WORKS));
        let forged = read(&condition("Sealed", "True", "Forged", WORKS));
        assert_eq!(forged.status, ours.status);
        assert!(forged != ours && !forged.is_ours());
        for odd in [
            condition("TrustMe", "True", "Verified", WORKS),
            condition("Ready", "true", "Verified", WORKS),
            condition("Ready", "", "", ""),
        ] {
            assert!(!read(&odd).is_ours(), "{odd}");
        }
    }

    #[test]
    fn every_reason_is_written_as_its_name() {
        for reason in Reason::ALL {
            let written = serde_json::to_value(reason).expect("JSON");
            assert_eq!(written, json!(reason.name()));
        }
    }

    #[test]
    fn a_usual_message_takes_no_memory() {
        let read = read(&condition("Ready", "True", "Verified", WORKS));
        assert!(matches!(read.message, Cow::Borrowed(WORKS)));
    }
}
