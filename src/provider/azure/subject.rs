//! Who uses which key, as messages name it, and the commands that mend things. Every argument is
//! single-quoted, and everything here was validated before it got here.

pub use crate::credentials::quoted;

/// The credential's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Application {
        directory: String,
        client: String,
        proof: Proof,
    },
    ManagedIdentity(Selector),
}

/// How an application proves that it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A client secret from the variable of this name.
    Variable(String),
    /// A client secret from this Secret (`namespace/name`).
    Secret(String),
    /// The pod's workload identity: the application is the operator's own.
    OwnIdentity,
    /// The operator's token, for an application that the tenant names.
    OwnToken,
    /// A token of this `ServiceAccount` (`namespace/name`).
    ServiceAccount(String),
}

impl Proof {
    /// Where it comes from, for people.
    pub fn place(&self) -> String {
        match self {
            Self::Variable(name) => format!("variable {name}"),
            Self::Secret(name) => format!("Secret {name}"),
            Self::OwnIdentity | Self::OwnToken => "the operator's own token".to_owned(),
            Self::ServiceAccount(name) => format!("ServiceAccount {name}"),
        }
    }
}

/// Which managed identity of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    SystemAssigned,
    ClientId(String),
    ObjectId(String),
    ResourceId(String),
}

/// What a failure is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub who: Who,
    /// As `az keyvault --name` takes it.
    pub vault: String,
    pub host: String,
    pub key: String,
    pub hsm: bool,
    /// Host of the authority that issues the tokens.
    pub authority: String,
}

impl Who {
    /// For people: status, events, messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Application {
                directory,
                client,
                proof,
            } => {
                let application = format!("application {client} of directory {directory}");
                match proof {
                    Proof::Variable(name) => format!("{application}, client secret from {name}"),
                    Proof::Secret(_) => {
                        format!("{application}, client secret from {}", proof.place())
                    }
                    Proof::OwnIdentity => format!("workload identity, {application}"),
                    Proof::OwnToken => format!("{application}, by the operator's own token"),
                    Proof::ServiceAccount(_) => {
                        format!("{application}, by a token of {}", proof.place())
                    }
                }
            }
            Self::ManagedIdentity(selector) => match selector {
                Selector::SystemAssigned => "managed identity, system-assigned".to_owned(),
                Selector::ClientId(id) => format!("managed identity with client id {id}"),
                Selector::ObjectId(id) => format!("managed identity with object id {id}"),
                Selector::ResourceId(id) => format!("managed identity {id}"),
            },
        }
    }

    /// What `az role assignment create --assignee` takes. `seen` is the object id that a token
    /// showed.
    fn assignee(&self, seen: Option<&str>) -> String {
        let text = match self {
            Self::Application { client, .. } => client,
            Self::ManagedIdentity(Selector::ClientId(id) | Selector::ObjectId(id)) => id,
            Self::ManagedIdentity(_) => seen.unwrap_or("<object id of the managed identity>"),
        };
        quoted(text)
    }
}

impl Subject {
    /// Gives the role that wraps and unwraps, on this key alone.
    pub fn grant_role(&self, seen: Option<&str>) -> String {
        let assignee = self.who.assignee(seen);
        if self.hsm {
            return format!(
                "az keyvault role assignment create --hsm-name {} --role 'Managed HSM Crypto \
                 Service Encryption User' --assignee {assignee} --scope {}",
                quoted(&self.vault),
                quoted(&format!("/keys/{}", self.key)),
            );
        }
        format!(
            "az role assignment create --role 'Key Vault Crypto Service Encryption User' \
             --assignee {assignee} --scope \"$(az keyvault show --name {} --query id --output \
             tsv)\"{}",
            quoted(&self.vault),
            quoted(&format!("/keys/{}", self.key)),
        )
    }

    /// Gives the same in a vault that uses access policies.
    pub fn grant_policy(&self, seen: Option<&str>) -> String {
        let flag = match &self.who {
            Who::Application { .. } | Who::ManagedIdentity(Selector::ClientId(_)) => "--spn",
            Who::ManagedIdentity(_) => "--object-id",
        };
        format!(
            "az keyvault set-policy --name {} {flag} {} --key-permissions get wrapKey unwrapKey",
            quoted(&self.vault),
            self.who.assignee(seen),
        )
    }

    /// `az keyvault key VERB` on this key.
    pub fn key_command(&self, verb: &str, options: &str) -> String {
        let vault = if self.hsm {
            "--hsm-name"
        } else {
            "--vault-name"
        };
        let options = if options.is_empty() {
            String::new()
        } else {
            format!(" {options}")
        };
        format!(
            "az keyvault key {verb} {vault} {} --name {}{options}",
            quoted(&self.vault),
            quoted(&self.key),
        )
    }

    /// Forbids that a deleted key is purged before its retention ends.
    pub fn protect(&self) -> String {
        let vault = quoted(&self.vault);
        if self.hsm {
            return format!(
                "az keyvault update-hsm --hsm-name {vault} --enable-purge-protection true"
            );
        }
        format!("az keyvault update --name {vault} --enable-purge-protection true")
    }

    /// Says which permission model the vault uses.
    pub fn permission_model(&self) -> String {
        format!(
            "az keyvault show --name {} --query properties.enableRbacAuthorization",
            quoted(&self.vault)
        )
    }

    /// Answers from the network position of whoever runs it, without a credential.
    pub fn reach_vault(&self) -> String {
        let url = format!("https://{}/healthstatus", self.host);
        format!("curl --verbose {}", quoted(&url))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn application() -> Subject {
        Subject {
            who: Who::Application {
                directory: "aaaabbbb-cccc-dddd-eeee-ffff00001111".to_owned(),
                client: "11112222-3333-4444-5555-666677778888".to_owned(),
                proof: Proof::Variable("AZURE_KC_CLIENT_SECRET".to_owned()),
            },
            vault: "acme-kv".to_owned(),
            host: "acme-kv.vault.azure.net".to_owned(),
            key: "wrap".to_owned(),
            hsm: false,
            authority: "login.microsoftonline.com".to_owned(),
        }
    }

    #[test]
    fn commands_quote_every_argument() {
        assert_eq!(quoted("a'b"), r"'a'\''b'");
        assert_eq!(
            application().grant_role(None),
            "az role assignment create --role 'Key Vault Crypto Service Encryption User' \
             --assignee '11112222-3333-4444-5555-666677778888' --scope \"$(az keyvault show \
             --name 'acme-kv' --query id --output tsv)\"'/keys/wrap'"
        );
        let own = Subject {
            who: Who::ManagedIdentity(Selector::SystemAssigned),
            ..application()
        };
        let oid = Some("99992222-3333-4444-5555-666677778888");
        assert!(own.grant_policy(oid).contains("--object-id '99992222-"));
    }
}
