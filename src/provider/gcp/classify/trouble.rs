//! No answer at all, or one that is not what was asked for. Always inconclusive: the seal rule counts
//! the time since the last proof.

use super::Service;
use super::metadata::reach as reach_metadata;
use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::answer::Trouble;
use crate::provider::gcp::subject::reach;

/// What it means that a request to `service` got no answer.
pub fn trouble(trouble: Trouble, service: Service) -> Failure {
    if service == Service::Metadata {
        return Failure::transient(
            Reason::IdentityUnavailable,
            format!(
                "the metadata server cannot be used ({trouble}): {}",
                reach_metadata()
            ),
        );
    }
    let host = service.host();
    trouble.at(host, &reach(host))
}

/// The deadline around a whole call passed.
pub fn silent(service: Service) -> Failure {
    trouble(Trouble::Timeout, service)
}

/// A success that is not in the service's form.
pub fn distrusted(host: &str) -> Failure {
    Failure::transient(
        Reason::ProviderError,
        format!(
            "{host} gave an answer that Google does not give: nothing is concluded from it. Check \
             what stands between, such as a proxy that answers in its place: {}",
            reach(host)
        ),
    )
}
