//! How a refusal is made: on the parent object, forbidden, with fixed words. Must never put a
//! value of the object into a message.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

/// `condition` holds or `field` (of the object the rule stands on; empty for the object itself)
/// is refused with `message`. The reason is what keeps the API server from printing the value.
pub(super) fn rule(condition: impl Into<String>, field: &str, message: &str) -> ValidationRule {
    ValidationRule {
        rule: condition.into(),
        message: Some(message.into()),
        reason: Some("FieldValueForbidden".into()),
        field_path: (!field.is_empty()).then(|| format!(".{field}")),
        ..ValidationRule::default()
    }
}

/// As [`rule`], with better words for mistakes that can be recognised: the first hint whose
/// condition holds is the message.
pub(super) fn rule_with_hints(
    condition: impl Into<String>,
    field: &str,
    hints: &[(&str, &str)],
    message: &str,
) -> ValidationRule {
    let text = |words: &str| format!("\"{words}\"");
    let chosen = hints
        .iter()
        .rev()
        .fold(text(message), |rest, (when, words)| {
            format!("{when} ? {} : {rest}", text(words))
        });
    ValidationRule {
        message_expression: Some(chosen),
        ..rule(condition, field, message)
    }
}

/// As [`rule`] for a field that may be absent.
pub(super) fn if_present(field: &str, condition: &str, message: &str) -> ValidationRule {
    rule(format!("!has(self.{field}) || {condition}"), field, message)
}

/// `self.FIELD` matches the whole of `pattern`.
pub(super) fn matches(field: &str, pattern: &str) -> String {
    format!("self.{field}.matches(r'^({pattern})$')")
}

/// Go's durations with each unit at most once and in order. Its digits are limited so that
/// CEL's `duration()`, whose error would repeat the value, cannot overflow.
const DURATION: &str = r"([0-9]{1,6}(\.[0-9]{1,6})?h)?([0-9]{1,6}(\.[0-9]{1,6})?m)?([0-9]{1,8}(\.[0-9]{1,6})?s)?([0-9]{1,8}ms)?";

/// `self.FIELD` is a duration that `duration()` reads.
pub(super) fn is_duration(field: &str) -> String {
    format!("(self.{field} != '' && {})", matches(field, DURATION))
}
