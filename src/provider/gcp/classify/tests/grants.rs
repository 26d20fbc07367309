//! What is about a grant, and what only looks like it.

use super::*;

#[test]
fn a_permission_of_another_service_is_nobodys_no() {
    let details = json!([{ "@type": INFO, "reason": "IAM_PERMISSION_DENIED",
        "domain": "serviceusage.googleapis.com",
        "metadata": { "permission": "serviceusage.services.use" } }]);
    let answer = error(403, "PERMISSION_DENIED", "m", &details);
    for failure in both(&answer, &machine()) {
        is(
            &failure,
            Kind::Transient,
            Reason::ProviderError,
            "nothing is concluded",
        );
    }
    let failure = iam(&answer, &impersonating(), None);
    assert_eq!(failure.kind, Kind::Transient, "{failure}");
}

#[test]
fn a_disabled_account_is_the_customers_no_and_no_other_precondition_is() {
    let text = format!("Service account {EMAIL} is disabled.");
    let disabled = error(400, "FAILED_PRECONDITION", &text, &json!([]));
    is(
        &iam(&disabled, &impersonating(), None),
        Kind::Denial,
        Reason::AccessDenied,
        "gcloud iam service-accounts enable 'kms@",
    );
    let other = error(400, "FAILED_PRECONDITION", "m", &json!([]));
    let failure = iam(&other, &impersonating(), None);
    assert_eq!(failure.kind, Kind::Transient, "{failure}");
}
