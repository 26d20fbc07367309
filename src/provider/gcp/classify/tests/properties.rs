//! The same of answers that nobody thought of.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn no_other_reason_of_a_403_is_a_denial(reason in "[A-Z_]{1,24}") {
        prop_assume!(reason != "IAM_PERMISSION_DENIED");
        for failure in both(&info(403, "PERMISSION_DENIED", &reason), &impersonating()) {
            prop_assert_ne!(failure.kind, Kind::Denial);
        }
    }

    #[test]
    fn no_body_in_another_form_is_a_denial(status in 300u16..600, body in ".{0,80}") {
        let answer = answer(status, &body);
        for failure in both(&answer, &impersonating()) {
            prop_assert_ne!(failure.kind, Kind::Denial);
        }
        prop_assert_ne!(iam(&answer, &impersonating(), None).kind, Kind::Denial);
        prop_assert_ne!(sts(&answer, &federated(None), "i").kind, Kind::Denial);
        prop_assert_ne!(metadata(&answer).kind, Kind::Denial);
    }

    #[test]
    fn an_error_that_contradicts_its_status_is_not_believed(status in 300u16..600) {
        prop_assume!(status != 404);
        let body = json!({ "error": { "code": 404, "status": "NOT_FOUND", "message": "m" } });
        for failure in both(&answer(status, &body.to_string()), &machine()) {
            prop_assert_ne!(failure.kind, Kind::Denial);
        }
    }

    #[test]
    fn no_upstream_text_is_repeated(text in "[a-z]{12,40}") {
        let details = json!([{ "@type": INFO, "reason": text, "domain": text, "metadata": { "consumer": text } }]);
        for status in [400, 401, 403, 404, 409, 500] {
            let answer = error(status, &text, &text, &details);
            for failure in both(&answer, &machine()) {
                prop_assert!(!failure.to_string().contains(&text), "{}", failure);
            }
        }
    }
}
