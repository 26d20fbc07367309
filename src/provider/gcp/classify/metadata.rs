//! The metadata server's answers; cloud.google.com/compute/docs/metadata. None of them is a no: the
//! identity is the platform's own.

use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::answer::Answer;

/// What an answer that is no token means.
pub fn metadata(answer: &Answer) -> Failure {
    let failure = match answer.status {
        // GKE answers 403 or 404 when the pod's ServiceAccount may not be a service account of Google's.
        403 | 404 => Failure::misconfigured(
            Reason::IdentityUnavailable,
            "the metadata server gives the operator no token: the node has no service account, or the \
             pod's ServiceAccount may not be the one that its annotation names. Check the annotation \
             and its binding: gcloud iam service-accounts add-iam-policy-binding '<service account>' \
             --role 'roles/iam.workloadIdentityUser' --member \
             'serviceAccount:<project>.svc.id.goog[<namespace>/<ServiceAccount>]'",
        ),
        429 => Failure::transient(
            Reason::Throttled,
            "the metadata server throttles token requests. Check what else on this node asks for \
             tokens: kubectl get pods --all-namespaces --field-selector 'spec.nodeName=<node>'",
        ),
        status => Failure::transient(
            Reason::IdentityUnavailable,
            format!(
                "the metadata server answered a token request with status {status}: {}",
                reach()
            ),
        ),
    };
    failure.with_retry_after(answer.retry_after())
}

/// Without `Metadata-Flavor: Google`, or with something that is no token.
pub fn strange() -> Failure {
    Failure::transient(
        Reason::IdentityUnavailable,
        format!(
            "what answers at the metadata server's address is not Google's: {}",
            reach()
        ),
    )
}

/// What to check when the server does not answer.
pub fn reach() -> &'static str {
    "the operator runs outside Google Cloud, or a network policy keeps it from the metadata server. \
     Check from the operator's node: curl --noproxy '*' --include --header 'Metadata-Flavor: Google' \
     'http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/email'"
}
