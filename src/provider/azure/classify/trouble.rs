//! No answer at all. Always inconclusive: the seal rule counts the time since the last proof.

use super::Service;
use super::imds::reach;
use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::answer::Trouble;
use crate::provider::azure::subject::{Subject, quoted};

/// What it means that a request to `service` got no answer.
pub fn trouble(trouble: Trouble, service: Service, subject: &Subject) -> Failure {
    if service == Service::Imds {
        return Failure::transient(
            Reason::IdentityUnavailable,
            format!(
                "the node's metadata service cannot be used ({trouble}): {}",
                reach()
            ),
        );
    }
    let (host, command) = match service {
        Service::Vault => (&subject.host, subject.reach_vault()),
        Service::Entra | Service::Imds => (
            &subject.authority,
            format!(
                "curl --verbose {}",
                quoted(&format!("https://{}/", subject.authority))
            ),
        ),
    };
    trouble.at(host, &command)
}

/// The deadline around a whole call passed.
pub fn silent(service: Service, subject: &Subject) -> Failure {
    trouble(Trouble::Timeout, service, subject)
}
