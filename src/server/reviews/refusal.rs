//! Why a caller is refused, in words that say what to do. Nothing of a token is repeated.

use std::fmt;

use super::Right;
use crate::credentials::quoted;
use crate::provider::TenantId;
use crate::session::caller::{AUDIENCE, Nobody, ServiceAccount};

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{why}. {}", mount())]
    Unauthenticated { why: Why },
    #[error("{0}")]
    Forbidden(Box<Forbidden>),
    #[error(
        "the Kubernetes API server gives no answer to the review of this caller, so nobody knows \
         what it may do. Try again in some seconds. If it lasts, the platform's people look at: \
         kubectl get --raw '/readyz?verbose', and at the operator's log"
    )]
    Unavailable,
    #[error("too many callers are being reviewed at this moment. Try again in some seconds")]
    Busy,
}

/// Why it is not known who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Absent, or no token of a `ServiceAccount` by its form.
    Malformed,
    Rejected,
    NotServiceAccount,
    Unusable,
}

impl From<Nobody> for Why {
    fn from(nobody: Nobody) -> Self {
        match nobody {
            Nobody::Rejected => Self::Rejected,
            Nobody::NotServiceAccount => Self::NotServiceAccount,
            Nobody::Unusable => Self::Unusable,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str(
                "the request has no ServiceAccount token in a header `Authorization: Bearer …`",
            ),
            Self::Rejected => write!(
                f,
                "the cluster does not accept this token: it has expired, is not for the audience \
                 {AUDIENCE}, or its pod or ServiceAccount is gone"
            ),
            Self::NotServiceAccount => {
                f.write_str("the token is not a ServiceAccount's, and nobody else may call")
            }
            Self::Unusable => f.write_str(
                "the cluster's review of this token names no uid, half a pod, or more groups and \
                 attributes than are taken",
            ),
        }
    }
}

fn mount() -> String {
    format!(
        "Mount a projected token of the audience {AUDIENCE} and read its file again for each \
         request, for it is renewed. In the pod: volumes: [{{ name: tenant-kms-token, projected: \
         {{ sources: [{{ serviceAccountToken: {{ audience: {AUDIENCE}, expirationSeconds: 3600, \
         path: token }} }}] }} }}], and in the container: volumeMounts: [{{ name: \
         tenant-kms-token, mountPath: /var/run/tenant-kms, readOnly: true }}]. By hand: kubectl \
         create token '<ServiceAccount>' --namespace '<namespace>' --audience '{AUDIENCE}'"
    )
}

/// Who may not do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    pub service_account: ServiceAccount,
    pub tenant: TenantId,
    pub right: Right,
}

impl Forbidden {
    /// Makes a Role for this one tenant and binds it to the caller, whatever of that is there.
    pub fn commands(&self) -> String {
        let (tenant, sub) = (&self.tenant, self.right.subresource());
        let ServiceAccount { namespace, name } = &self.service_account;
        let role = format!("tenant-kms-{}-{sub}", tenant.name);
        // Of its own for each caller: applying another's would take the first one's right.
        let binding = quoted(&format!("{role}:{namespace}:{name}"));
        let (role, place) = (quoted(&role), quoted(&tenant.namespace));
        format!(
            "kubectl create role {role} --namespace {place} --verb create --resource \
             tenantkmses.tenantkms.dev/{sub} --resource-name {} {APPLY} && kubectl create \
             rolebinding {binding} --namespace {place} --role {role} --serviceaccount {} {APPLY}",
            quoted(&tenant.name),
            quoted(&format!("{namespace}:{name}")),
        )
    }
}

/// `kubectl create` stops at what exists, and half of it may.
const APPLY: &str = "--dry-run=client --output yaml | kubectl apply --filename -";

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServiceAccount { namespace, name } = &self.service_account;
        let what = match self.right {
            Right::Session => "use the key of",
            Right::DataKey => "take data keys of",
        };
        write!(
            f,
            "ServiceAccount {namespace}/{name} may not {what} tenant {}: a Role is missing. \
             Whoever may grant it in that namespace does so by: {}",
            self.tenant,
            self.commands()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_gives_this_right_on_this_tenant_to_this_caller_only() {
        let forbidden = Forbidden {
            service_account: ServiceAccount {
                namespace: "apps".to_owned(),
                name: "backend".to_owned(),
            },
            tenant: TenantId::new("tenants", "acme"),
            right: Right::DataKey,
        };
        assert_eq!(
            Refusal::Forbidden(Box::new(forbidden)).to_string(),
            "ServiceAccount apps/backend may not take data keys of tenant tenants/acme: a Role is \
             missing. Whoever may grant it in that namespace does so by: kubectl create role \
             'tenant-kms-acme-datakey' --namespace 'tenants' --verb create --resource \
             tenantkmses.tenantkms.dev/datakey --resource-name 'acme' --dry-run=client --output \
             yaml | kubectl apply --filename - && kubectl create rolebinding \
             'tenant-kms-acme-datakey:apps:backend' --namespace 'tenants' --role \
             'tenant-kms-acme-datakey' --serviceaccount 'apps:backend' --dry-run=client --output \
             yaml | kubectl apply --filename -"
        );
    }

    #[test]
    fn unauthenticated_says_how_to_mount_a_token() {
        let why = Why::Rejected;
        let message = Refusal::Unauthenticated { why }.to_string();
        assert!(
            message.starts_with("the cluster does not accept"),
            "{message}"
        );
        assert!(
            message.contains("serviceAccountToken: { audience: tenantkms.dev,"),
            "{message}"
        );
    }
}
