//! Durations: the verification clocks, the rotation interval, the length of a session. The
//! defaults are those of [`crate::api::timing`] and count where one of two values is absent.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

use super::super::rule::{if_present, is_duration, rule, rule_with_hints};

const FORM: &str = "write a duration such as 30s, 5m or 1h30m";

pub(super) fn verify() -> Vec<ValidationRule> {
    let interval = is_duration("interval");
    let proof_ttl = is_duration("proofTTL");
    let idle = is_duration("idleInterval");
    let interval_or_default =
        format!("(has(self.interval) && {interval} ? duration(self.interval) : duration('30s'))");
    let proof_ttl_or_default =
        format!("(has(self.proofTTL) && {proof_ttl} ? duration(self.proofTTL) : duration('5m'))");
    vec![
        range(
            "proofTTL",
            &[(">=", "'1m'"), ("<=", "'5m'")],
            "proofTTL is 1m to 5m",
        ),
        range("interval", &[(">=", "'5s'")], "interval is at least 5s"),
        rule(
            format!(
                "!has(self.interval) || !{interval} || duration(self.interval) + \
                 duration(self.interval) <= {proof_ttl_or_default}"
            ),
            "interval",
            "interval is at most half of proofTTL (which is 5m when absent): a proof must survive \
             one failed check",
        ),
        range("idleInterval", &[], FORM),
        rule(
            format!(
                "!has(self.idleInterval) || !{idle} || \
                 duration(self.idleInterval) >= {interval_or_default}"
            ),
            "idleInterval",
            "idleInterval is at least interval (which is 30s when absent)",
        ),
    ]
}

pub(super) fn master_key() -> Vec<ValidationRule> {
    vec![
        range(
            "rotationInterval",
            &[(">=", "'24h'")],
            "rotationInterval is at least 24h",
        ),
        if_present(
            "erasedIds",
            "self.erasedIds.all(id, id.matches('^[0-9a-f]{32}$'))",
            "an id has 32 hexadecimal digits: kubectl get tkms NAME -o yaml shows them in status",
        ),
        if_present(
            "erasedIds",
            "self.erasedIds.all(id, self.erasedIds.exists_one(other, other == id))",
            "write every id once",
        ),
    ]
}

/// On spec: the limit depends on the provider.
pub(super) fn session() -> Vec<ValidationRule> {
    let field = "session.ttl";
    let written = is_duration(field);
    vec![rule_with_hints(
        format!(
            "!has(self.session) || !has(self.session.ttl) || ({written} && \
             duration(self.session.ttl) >= duration('1m') && \
             (self.provider == 'local' || duration(self.session.ttl) <= duration('5m')))"
        ),
        field,
        &[(&format!("!{written}"), FORM)],
        "a session lasts at least 1m, and at most 5m where the customer brings the key",
    )]
}

/// `field`, when present, is a duration and compares as `bounds` say.
fn range(field: &str, bounds: &[(&str, &str)], message: &str) -> ValidationRule {
    let written = is_duration(field);
    let within: Vec<_> = bounds
        .iter()
        .map(|(operator, limit)| format!(" && duration(self.{field}) {operator} duration({limit})"))
        .collect();
    rule_with_hints(
        format!("!has(self.{field}) || ({written}{})", within.concat()),
        field,
        &[(&format!("!{written}"), FORM)],
        message,
    )
}
