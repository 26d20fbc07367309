//! What mends it, or shows more of it, whichever cloud the key is in.

use crate::api::Reason;

pub const fn command(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::Verified => "kubectl get tkms '<name>' --namespace '<namespace>' --output wide",
        Reason::Verifying => "kubectl get tkms '<name>' --namespace '<namespace>' --watch",
        Reason::SecretNotFound => {
            "kubectl get secret '<secret>' --namespace '<namespace>' --show-labels"
        }
        Reason::EnvVarNotFound => "kubectl get secrets --namespace '<namespace of the operator>'",
        Reason::NotAllowed | Reason::EndpointNotAllowed => "tenant-kms config check '<file>'",
        Reason::KeyRefConflict => "kubectl get tkms --all-namespaces --output wide",
        Reason::ProviderError => "tenant-kms verify -f '<manifest>' --output json",
        Reason::KeyringMissing => {
            "tenant-kms keyring import --file '<exported file>' --namespace '<namespace>'"
        }
        Reason::KeyringCorrupt => {
            "tenant-kms keyring import --file '<exported file>' --namespace '<namespace>' \
             --replace-damaged"
        }
        Reason::KeyringForeign => "tenant-kms keyring adopt '<name>' --namespace '<namespace>'",
        Reason::KeyringTooNew | Reason::ProviderNotBuilt => {
            "kubectl get deployment --all-namespaces --selector \
             'app.kubernetes.io/name=tenant-kms-operator' --output wide"
        }
        Reason::KeyringFull => {
            "kubectl get tkms '<name>' --namespace '<namespace>' --output \
             jsonpath='{.status.masterKeys}'"
        }
        Reason::Erasing => {
            "kubectl annotate tkms '<name>' --namespace '<namespace>' \
             tenantkms.dev/confirm-erase-"
        }
        Reason::Suspended => {
            "kubectl patch tkms '<name>' --namespace '<namespace>' --type merge --patch \
             '{\"spec\":{\"suspend\":false}}'"
        }
        _ => return None,
    })
}
