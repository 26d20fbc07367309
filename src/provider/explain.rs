//! Every reason for people: what it means, what to check, the command that mends it. The page of
//! the documentation is generated from here, and `tenant-kms explain` prints one row of it.

mod aws;
mod azure;
mod gcp;
mod platform;

use crate::api::Reason;

/// One reason, explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub reason: Reason,
    /// What the seal rule makes of it: `Denial` seals at once, `Transient` after `proofTTL`,
    /// `Misconfigured` refuses a new spec; `State` is no failure of an attempt.
    pub kind: &'static str,
    pub meaning: &'static str,
    pub check: &'static str,
}

impl Row {
    /// The platform's command, and that of each cloud, where there is one. With arguments for the reader to
    /// fill in.
    pub fn commands(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            platform::command,
            azure::command,
            aws::command,
            gcp::command,
        ];
        let reason = self.reason;
        all.into_iter().filter_map(move |command| command(reason))
    }
}

/// All rows, in the order of [`Reason::ALL`].
pub fn table() -> Vec<Row> {
    Reason::ALL.into_iter().map(row).collect()
}

/// The table of docs/troubleshooting.md.
pub fn markdown() -> String {
    let mut text =
        String::from("| Reason | Kind | Means | Check | Command |\n|---|---|---|---|---|\n");
    for row in table() {
        let commands: Vec<_> = row.commands().map(|one| one.replace('|', "\\|")).collect();
        let commands = commands.join("`<br>`");
        let (reason, kind) = (row.reason.name(), row.kind);
        let (meaning, check) = (row.meaning, row.check);
        text.extend([
            "| `", reason, "` | ", kind, " | ", meaning, " | ", check, " | `", &commands, "` |\n",
        ]);
    }
    text
}

/// The row of one reason.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn row(reason: Reason) -> Row {
    let (kind, meaning, check) = match reason {
        Reason::Verified => (
            "State",
            "The key wrapped and unwrapped; the tenant is served.",
            "Nothing.",
        ),
        Reason::Verifying => (
            "State",
            "No attempt has come to an end yet.",
            "Nothing; an attempt ends within seconds.",
        ),
        Reason::AccessDenied => (
            "Denial",
            "The customer's side says no: the role or policy on the key is missing or was taken, \
             its directory no longer has or enables the application, or that application trusts no \
             federated credential like the operator's token. In AWS: the role's trust, its policy, or the \
             key's policy or grant was taken. In Google Cloud: the role on the key, \
             impersonation or the workload identity provider was taken.",
            "The grant on the key; whether the application is there and enabled, and its federated \
             credentials. New grants take some minutes.",
        ),
        Reason::KeyDisabled => (
            "Denial",
            "The key, or the version in use, is disabled.",
            "With the key's owner, whether that is meant.",
        ),
        Reason::KeyNotFound => (
            "Denial, or Misconfigured for a key that the platform mounts",
            "There is no such key or version: never made, deleted, purged, destroyed or \
             scheduled to be; of local://NAME, no file or no folder.",
            "The name in spec.kmsKeyRef, and whether the key was deleted; for local:// the Secret \
             of the chart's value localKek.",
        ),
        Reason::KeyExpired => (
            "Denial",
            "The key's expiry date has passed.",
            "The date, with the key's owner.",
        ),
        Reason::KeyUnusable => (
            "Denial, or Misconfigured where the key can never do it",
            "The key is there and cannot be used this way: not yet valid, wrapKey or unwrapKey \
             not permitted, not RSA, or under 2048 bits; in AWS pending deletion or import, or not \
             SYMMETRIC_DEFAULT; in Google Cloud not for ENCRYPT_DECRYPT, or \
             without an enabled primary version; of local://NAME, a file that is not 32 bytes; or what \
             masterKey.importFrom names does not open with it to 32 bytes.",
            "The key's type, size, activation date and permitted operations; for local:// the \
             file that the message names.",
        ),
        Reason::InvalidKeyRef => (
            "Misconfigured",
            "spec.kmsKeyRef is no key's URL, ARN or name, or spec.azure.vaultUrl is another vault, or \
             spec.aws.region another region. Nothing was sent.",
            "The URL: https, a vault's host, /keys/NAME and at most a version; \
             arn:aws:kms:REGION:ACCOUNT:key/ID or alias/NAME; \
             projects/P/locations/L/keyRings/R/cryptoKeys/K; or local://NAME.",
        ),
        Reason::CredentialNotFound => (
            "Misconfigured",
            "The spec names no whole credential, or more than one. Nothing was sent.",
            "tenantId and clientId together, with clientSecret, with serviceAccountName, or alone for \
             the operator's token; or managedIdentity alone; or none. In AWS roleArn, alone or with \
             serviceAccountName; or none.",
        ),
        Reason::CredentialRejected => (
            "Misconfigured",
            "The identity provider or the vault does not accept the credential: a wrong or \
             expired secret, a token out of its time or whose signature cannot be verified, an unknown \
             directory, a vault of another directory; in Google Cloud an API that is not enabled where \
             calls are billed.",
            "The secret's value and end date, that the cluster's issuer can be read from the \
             internet, the node's clock, and the directory's id.",
        ),
        Reason::SecretNotFound => (
            "Misconfigured",
            "The Secret that the spec refers to is missing, is not lent to this tenant, or may not be \
             read.",
            "Its name, key and label, and the Role that lets the operator read it.",
        ),
        Reason::EnvVarNotFound => (
            "Misconfigured",
            "The variable of clientSecret.envVar is allowed and not there, is empty, or is no \
             variable's name.",
            "The chart's value clientSecrets: the Secret, in the operator's namespace, and its key.",
        ),
        Reason::NotAllowed => (
            "Denial, or Misconfigured for a role of AWS that opens to others",
            "The platform's configuration does not allow this tenant that variable, or the \
             operator's own identity or the platform's own key for it, and nothing was sent; or a role of \
             AWS can be assumed with an external id that is not this tenant's, and is not used.",
            "clientSecretVariables and operatorIdentity.allow in the operator's configuration; the role's \
             trust policy.",
        ),
        Reason::IdentityUnavailable => (
            "Misconfigured, or Transient while the metadata service does not answer",
            "The identity cannot be had: the node has none like that or its metadata service does not \
             answer, the pod was given no token, or the tenant's ServiceAccount is missing, is not \
             lent to this tenant, or may not be used.",
            "Which identities the nodes have, and network policies; the pod's workload identity; the \
             ServiceAccount's label and Role.",
        ),
        Reason::EndpointNotAllowed => (
            "Denial",
            "The key's host is none where keys may be used, or the operator's own identity may \
             not be used there. Nothing was sent.",
            "The host, and allowedEndpointSuffixes in the operator's configuration.",
        ),
        Reason::KeyRefConflict => (
            "Misconfigured",
            "Another namespace has the key: a key belongs to one namespace.",
            "Which object uses the same key.",
        ),
        Reason::Unreachable => (
            "Transient",
            "No usable answer: name, network, proxy, certificate, or a firewall that refuses the \
             operator's address.",
            "Name resolution, routes, network policies, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE, and \
             the vault's network rules.",
        ),
        Reason::Throttled => (
            "Transient",
            "The cloud asks for fewer requests.",
            "What else uses the vault, and spec.verify.interval.",
        ),
        Reason::ProviderError => (
            "Transient",
            "An answer from which nothing can be concluded: a server's error, another form than \
             the service's, wrong bytes.",
            "The service's health, and what stands between, such as a proxy.",
        ),
        Reason::KeyringMissing => (
            "State",
            "The tenant's record, or the master keys in it, are gone.",
            "Whether the operator may use Secrets in the records namespace; backups of it.",
        ),
        Reason::KeyringCorrupt => (
            "State",
            "The tenant's record cannot be read or its commitments do not hold.",
            "Who else writes in the records namespace; backups. The chart's policy refuses this until \
             the records namespace has the annotation tenantkms.dev/break-glass.",
        ),
        Reason::KeyringForeign => (
            "State",
            "The record belongs to a namespace of the same name that was deleted.",
            "Whether this namespace is its rightful successor. Deleting the record instead starts \
             anew. The chart's policy refuses both until the records namespace has the annotation \
             tenantkms.dev/break-glass.",
        ),
        Reason::KeyringTooNew => (
            "State",
            "The record was written by a newer version of the operator.",
            "Which versions run.",
        ),
        Reason::KeyringFull => (
            "Misconfigured",
            "64 versions of the master key can be unwrapped, so no further one is made.",
            "Which versions nothing uses any more; re-encrypt old data, then add them to \
             spec.masterKey.erasedIds.",
        ),
        Reason::Erasing => (
            "State",
            "The object was deleted with deletionPolicy Erase, confirmed: its master keys are \
             destroyed for ever seven days later.",
            "Whether that is still meant; without the annotation the keys are kept.",
        ),
        Reason::ProviderNotBuilt => (
            "Misconfigured",
            "This version of the operator cannot do what the spec asks for: it has no such provider, \
             cannot read the spec, or takes over no key from elsewhere with this provider.",
            "spec.provider, fields of a newer version, spec.masterKey.importFrom, and the image that \
             runs.",
        ),
        Reason::Suspended => (
            "State",
            "spec.suspend is set: no cloud calls, no sessions, keys wiped.",
            "Whether that is still meant.",
        ),
        Reason::KeyExpiring => (
            "State",
            "Of KeyAtRisk: the key expires within 30 days, and is refused from then on.",
            "Whether the key's owner will rotate it, or move the date.",
        ),
        Reason::CredentialExpiring => (
            "State",
            "Of KeyAtRisk: the client secret ends within 30 days, by clientSecret.expiresOn.",
            "Whether a new secret was handed over, and expiresOn moved with it.",
        ),
        Reason::PurgeProtectionOff => (
            "State",
            "Of KeyAtRisk: the vault has no purge protection, so a deleted key can be purged at \
             once, and what it wraps is lost for good.",
            "With the vault's owner; purge protection cannot be turned off again.",
        ),
    };
    Row {
        reason,
        kind,
        meaning,
        check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_this_table() {
        let page = include_str!("../../docs/troubleshooting.md");
        let table = page
            .split_once("<!-- reasons:begin -->\n")
            .and_then(|(_, rest)| rest.split_once("<!-- reasons:end -->"))
            .map(|(table, _)| table);
        assert!(table == Some(markdown().as_str()), "run `cargo xtask docs`");
    }

    #[test]
    fn own_commands_exist() {
        use clap::CommandFactory;
        let program = crate::cli::Cli::command();
        for command in table().iter().flat_map(Row::commands) {
            let mut words = command.split(' ');
            if words.next() == Some("tenant-kms") {
                let word = words.next().unwrap_or_default();
                assert!(program.find_subcommand(word).is_some(), "{command}");
            }
        }
    }

    #[test]
    fn every_reason_is_explained_once_with_a_command() {
        let table = table();
        assert_eq!(table.len(), Reason::ALL.len());
        for row in table {
            assert!(row.commands().next().is_some(), "{row:?}");
            for command in row.commands() {
                let tool = command.split(' ').next().unwrap_or_default();
                let known = ["aws", "az", "gcloud", "kubectl", "tenant-kms", "curl"];
                assert!(known.contains(&tool), "{row:?}");
            }
            for text in [row.meaning, row.check] {
                assert!(text.ends_with('.') && !text.contains("  "), "{row:?}");
            }
        }
    }
}
