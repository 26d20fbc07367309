//! The metadata service's answers; learn.microsoft.com, "How to use managed identities on a VM to
//! acquire an access token". None of them is a no: the identity is the platform's own.

use serde::Deserialize;

use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::answer::Answer;
use crate::provider::azure::subject::{Selector, Subject, Who, quoted};

#[derive(Deserialize)]
struct Body {
    error: String,
}

/// What an answer that is no token means.
pub fn imds(answer: &Answer, subject: &Subject) -> Failure {
    let body = serde_json::from_slice::<Body>(answer.body()).ok();
    let code = body.as_ref().map(|body| body.error.as_str());
    let failure = match (answer.status, code) {
        (400, Some("invalid_request")) => no_identity(subject),
        (400..=403, Some(_)) => Failure::misconfigured(
            Reason::IdentityUnavailable,
            format!(
                "the node's metadata service refuses a token to {}. Check that the vault's \
                 directory is the identity's own, because a managed identity reaches no other: az \
                 keyvault show --name {} --query properties.tenantId --output tsv",
                subject.who.describe(),
                quoted(&subject.vault)
            ),
        ),
        (429, _) => Failure::transient(
            Reason::Throttled,
            "the node's metadata service throttles token requests. Check what else on this node \
             asks for tokens: kubectl get pods --all-namespaces --field-selector \
             'spec.nodeName=<node>'",
        ),
        (status, _) => Failure::transient(
            Reason::IdentityUnavailable,
            format!(
                "the node's metadata service answered a token request with status {status}: {}",
                reach()
            ),
        ),
    };
    failure
        .with_code(code)
        .with_request_id(answer.request_id())
        .with_retry_after(answer.retry_after())
}

fn no_identity(subject: &Subject) -> Failure {
    let id = match &subject.who {
        Who::ManagedIdentity(Selector::ResourceId(id)) => id,
        _ => "<resource id of the identity>",
    };
    Failure::misconfigured(
        Reason::IdentityUnavailable,
        format!(
            "this node has no {}, or several and none was named. Check spec.azure.managedIdentity \
             and assign it to the nodes: az vmss identity assign --resource-group '<node resource \
             group>' --name '<scale set>' --identities {id}; a new node gets it by: az vm create \
             --assign-identity {id}",
            subject.who.describe(),
            id = quoted(id)
        ),
    )
}

/// What to check when the service does not answer.
pub fn reach() -> &'static str {
    "the operator runs outside Azure, or a network policy keeps it from the node's metadata \
     service. Check from the operator's node: curl --noproxy '*' --header 'Metadata: true' \
     'http://169.254.169.254/metadata/instance?api-version=2021-02-01'"
}
