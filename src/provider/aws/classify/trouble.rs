//! No answer at all. Always inconclusive: the seal rule counts the time since the last proof.

use super::own::reach;
use crate::api::Reason;
use crate::provider::Failure;
use crate::provider::answer::Trouble;
use crate::provider::aws::subject::{self, Subject};

/// Which service was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Kms,
    Sts,
    /// The metadata service or the Pod Identity agent.
    Metadata,
}

/// What it means that a request to `service` got no answer.
pub fn trouble(trouble: Trouble, service: Service, subject: &Subject) -> Failure {
    let host = match service {
        Service::Kms => subject.kms_host(),
        Service::Sts => subject.sts_host(),
        Service::Metadata => {
            return Failure::transient(
                Reason::IdentityUnavailable,
                format!(
                    "the pod's identity in AWS cannot be had ({trouble}): {}",
                    reach()
                ),
            );
        }
    };
    trouble.at(&host, &subject::reach(&host))
}
