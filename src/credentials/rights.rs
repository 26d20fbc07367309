//! Why something that a namespace should lend cannot be used, and the commands that lend it. Names
//! are repeated, because commands need them; a key within a Secret and its values never are.

use super::cluster::TENANT_LABEL;
use crate::api::Reason;
use crate::provider::{Failure, TenantId};

/// What is lent. The name has been found to be an object's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lent<'a> {
    Secret(&'a str),
    /// A Secret with a master key that the customer's key has wrapped.
    WrappedKey(&'a str),
    ServiceAccount(&'a str),
}

impl Lent<'_> {
    const fn reason(self) -> Reason {
        match self {
            Self::Secret(_) | Self::WrappedKey(_) => Reason::SecretNotFound,
            Self::ServiceAccount(_) => Reason::IdentityUnavailable,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Secret(_) | Self::WrappedKey(_) => "Secret",
            Self::ServiceAccount(_) => "ServiceAccount",
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Secret(_) => "spec.azure.clientSecret.secretRef",
            Self::WrappedKey(_) => "spec.masterKey.importFrom.secretRef",
            Self::ServiceAccount(_) => "serviceAccountName of the spec",
        }
    }

    pub(super) const fn object(&self) -> &str {
        match self {
            Self::Secret(name) | Self::WrappedKey(name) | Self::ServiceAccount(name) => name,
        }
    }

    fn described(self, tenant: &TenantId) -> String {
        format!("{} {}/{}", self.name(), tenant.namespace, self.object())
    }

    fn label(self, tenant: &TenantId) -> String {
        format!(
            "kubectl label {} {} --namespace {} '{TENANT_LABEL}={}' --overwrite",
            self.name().to_ascii_lowercase(),
            quoted(self.object()),
            quoted(&tenant.namespace),
            tenant.name
        )
    }

    /// What the operator does with it: verb, resource, and the end of the Role's name.
    const fn uses(self) -> &'static [(&'static str, &'static str, &'static str)] {
        match self {
            Self::Secret(_) => &[("get", "secrets", "secret")],
            Self::WrappedKey(_) => &[("get", "secrets", "import")],
            Self::ServiceAccount(_) => &[
                ("get", "serviceaccounts", "account"),
                ("create", "serviceaccounts/token", "token"),
            ],
        }
    }

    /// Makes the Roles, limited to this one object, and binds them to the operator, whatever of
    /// that is there already.
    fn grant(self, tenant: &TenantId, me: Option<&str>) -> String {
        let subject = subject(me);
        let namespace = quoted(&tenant.namespace);
        let commands = self.uses().iter().map(|(verb, resource, end)| {
            let role = quoted(&format!("tenant-kms-{}-{end}", tenant.name));
            format!(
                "kubectl create role {role} --namespace {namespace} --verb {verb} --resource \
                 {resource} --resource-name {} {APPLY} && kubectl create rolebinding {role} \
                 --namespace {namespace} --role {role} {subject} {APPLY}",
                quoted(self.object())
            )
        });
        commands.collect::<Vec<_>>().join(" && ")
    }
}

/// The operator as `kubectl create rolebinding` takes it.
pub fn subject(me: Option<&str>) -> String {
    let account = me.and_then(|me| me.strip_prefix("system:serviceaccount:"));
    match (account, me) {
        (Some(account), _) => format!("--serviceaccount {}", quoted(account)),
        (None, Some(me)) if !me.is_empty() && me.bytes().all(|b| b.is_ascii_graphic()) => {
            format!("--user {}", quoted(me))
        }
        _ => "--serviceaccount '<namespace of the operator>:<its ServiceAccount>'".to_owned(),
    }
}

/// `kubectl create` stops at what exists, and half of it may.
pub const APPLY: &str = "--dry-run=client --output yaml | kubectl apply --filename -";

pub fn forbidden(lent: Lent<'_>, tenant: &TenantId, me: Option<&str>) -> Failure {
    let does = match lent {
        Lent::Secret(_) | Lent::WrappedKey(_) => "read",
        Lent::ServiceAccount(_) => "read or take a token of",
    };
    Failure::misconfigured(
        lent.reason(),
        format!(
            "the operator may not {does} {}: a Role is missing. Whoever may grant it in that \
             namespace does so by: {}",
            lent.described(tenant),
            lent.grant(tenant, me)
        ),
    )
}

pub fn not_found(lent: Lent<'_>, tenant: &TenantId) -> Failure {
    let (field, namespace, object) = (
        lent.field(),
        quoted(&tenant.namespace),
        quoted(lent.object()),
    );
    let create = match lent {
        Lent::Secret(_) => format!(
            "kubectl create secret generic {object} --namespace {namespace} \
             --from-file='<key>=<file with the client secret>'"
        ),
        Lent::WrappedKey(_) => format!(
            "kubectl create secret generic {object} --namespace {namespace} \
             --from-file='<key>=<file with the wrapped key>'"
        ),
        Lent::ServiceAccount(_) => {
            format!("kubectl create serviceaccount {object} --namespace {namespace}")
        }
    };
    Failure::misconfigured(
        lent.reason(),
        format!(
            "there is no {}. Check {field}, or create it: {create} && {}",
            lent.described(tenant),
            lent.label(tenant)
        ),
    )
}

/// `other` says that it is lent to somebody else.
pub fn not_lent(lent: Lent<'_>, tenant: &TenantId, other: bool) -> Failure {
    let state = if other {
        "is lent to another tenant: its label names one"
    } else {
        "is not lent to this tenant: the label is missing"
    };
    Failure::misconfigured(
        lent.reason(),
        format!(
            "{} {state}. It was not used. Check {} and whose it is; its owner lends it to {tenant} \
             by: {}",
            lent.described(tenant),
            lent.field(),
            lent.label(tenant)
        ),
    )
}

/// The Secret is there and the value that is meant is not.
pub fn without_key(lent: Lent<'_>, tenant: &TenantId, why: &str) -> Failure {
    Failure::misconfigured(
        lent.reason(),
        format!(
            "{} {why}, as the one that {}.key names. Its keys are shown by: kubectl describe \
             secret {} --namespace {}",
            lent.described(tenant),
            lent.field(),
            quoted(lent.object()),
            quoted(&tenant.namespace)
        ),
    )
}

pub fn silent(lent: Lent<'_>) -> Failure {
    Failure::transient(
        Reason::Unreachable,
        format!(
            "the API server gave no usable answer when the {} of {} was to be used. It is tried \
             again; check the API server: kubectl get --raw '/readyz?verbose'",
            lent.name(),
            lent.field()
        ),
    )
}

pub fn no_cluster(lent: Lent<'_>) -> Failure {
    Failure::misconfigured(
        lent.reason(),
        format!(
            "{} names a {} of the cluster, and here there is no cluster: only the operator reads \
             it. Nothing was sent. Apply the manifest and look at what the operator says: kubectl \
             get tkms '<name>' --namespace '<namespace>' --output wide",
            lent.field(),
            lent.name()
        ),
    )
}

/// One argument for a shell.
pub fn quoted(argument: &str) -> String {
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_for_this_object_and_this_operator_only() {
        let (acme, lent) = (TenantId::new("tenants", "acme"), Lent::Secret("acme-azure"));
        let failure = forbidden(lent, &acme, Some("system:serviceaccount:tkms:op"));
        assert!(
            failure.message.ends_with(
                "kubectl create role 'tenant-kms-acme-secret' --namespace 'tenants' --verb get \
                 --resource secrets --resource-name 'acme-azure' --dry-run=client --output yaml | \
                 kubectl apply --filename - && kubectl create rolebinding \
                 'tenant-kms-acme-secret' --namespace 'tenants' --role 'tenant-kms-acme-secret' \
                 --serviceaccount 'tkms:op' --dry-run=client --output yaml | kubectl apply \
                 --filename -"
            ),
            "{failure}"
        );
        let token = forbidden(Lent::ServiceAccount("acme-kms"), &acme, Some("jane"));
        assert!(
            token
                .message
                .contains("--verb create --resource serviceaccounts/token")
        );
        assert!(token.message.contains("--user 'jane' --dry-run"), "{token}");
        let unknown = forbidden(lent, &acme, None);
        assert!(unknown.message.contains("'<namespace of the operator>"));
    }
}
