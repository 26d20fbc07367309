//! IAM: who holds which role where. A role on a project or a key ring holds for everything below it; what is not
//! bound is denied.

use crate::gcp::State;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    /// `projects/P`, `projects/P/locations/L/keyRings/R`, a key, or `projects/P/serviceAccounts/EMAIL`.
    pub(crate) resource: String,
    /// `serviceAccount:EMAIL`, `principal://…/subject/S` or `principalSet://…/*`.
    pub(crate) member: String,
    /// Predefined roles only: `roles/…`.
    pub(crate) role: String,
}

pub(crate) const ENCRYPT: &str = "cloudkms.cryptoKeyVersions.useToEncrypt";
pub(crate) const DECRYPT: &str = "cloudkms.cryptoKeyVersions.useToDecrypt";
pub(crate) const GET_KEY: &str = "cloudkms.cryptoKeys.get";
pub(crate) const GET_VERSION: &str = "cloudkms.cryptoKeyVersions.get";
pub(crate) const GET_TOKEN: &str = "iam.serviceAccounts.getAccessToken";
pub(crate) const USE_SERVICE: &str = "serviceusage.services.use";

/// What a predefined role permits, as far as anything here asks for it.
pub(crate) fn permissions(role: &str) -> Option<&'static [&'static str]> {
    Some(match role {
        "roles/cloudkms.cryptoKeyEncrypterDecrypter" => &[ENCRYPT, DECRYPT],
        "roles/cloudkms.cryptoKeyEncrypter" => &[ENCRYPT],
        "roles/cloudkms.cryptoKeyDecrypter" => &[DECRYPT],
        "roles/cloudkms.viewer" => &[GET_KEY, GET_VERSION],
        "roles/iam.serviceAccountTokenCreator" | "roles/iam.workloadIdentityUser" => &[GET_TOKEN],
        "roles/serviceusage.serviceUsageConsumer" => &[USE_SERVICE],
        _ => return None,
    })
}

impl State {
    /// Whether `member` has `permission` on `resource`, there or above.
    pub(crate) fn allowed(&self, member: &str, resource: &str, permission: &str) -> bool {
        self.bindings.iter().any(|binding| {
            let below = resource
                .strip_prefix(&binding.resource)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            below
                && names(&binding.member, member)
                && permissions(&binding.role).is_some_and(|all| all.contains(&permission))
        })
    }
}

/// `principalSet://…/workloadIdentityPools/POOL/*` names every subject of a pool.
fn names(bound: &str, member: &str) -> bool {
    let pool = bound
        .strip_prefix("principalSet:")
        .and_then(|rest| rest.strip_suffix('*'));
    let subject = member.strip_prefix("principal:");
    bound == member
        || pool
            .zip(subject)
            .is_some_and(|(pool, subject)| subject.starts_with(&format!("{pool}subject/")))
}
