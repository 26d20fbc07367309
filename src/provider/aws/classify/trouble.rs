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
    let (reason, check) = match trouble {
        Trouble::Certificate => (
            Reason::Unreachable,
            "Check SSL_CERT_FILE: behind a proxy that inspects TLS it must hold that proxy's \
             authority",
        ),
        Trouble::TooLarge | Trouble::Unsendable => (
            Reason::ProviderError,
            "Check what stands between, such as a proxy that answers in its place",
        ),
        _ => (
            Reason::Unreachable,
            "Check the name, routes, network policies, and HTTPS_PROXY and NO_PROXY",
        ),
    };
    let command = subject::reach(&host);
    Failure::transient(
        reason,
        format!("no usable answer from {host}: {trouble}. {check}: {command}"),
    )
}
