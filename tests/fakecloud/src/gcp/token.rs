//! Access tokens: opaque to whoever holds them, known here by their text. Checked for being known, for time, for the
//! account's state and for scope; never with leeway.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::crypto::{encode, random};
use crate::gcp::errors::{self, Refusal};
use crate::gcp::{State, iam, names};
use crate::http::Asked;
use crate::world::World;

pub(crate) const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const KMS_SCOPE: &str = "https://www.googleapis.com/auth/cloudkms";
pub(crate) const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";

/// Whose a token is.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    /// `serviceAccount:EMAIL` or `principal://…`.
    pub(crate) member: String,
    pub(crate) scopes: Vec<String>,
    /// Unix seconds.
    pub(crate) expires: u64,
}

pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// A new token, remembered as a secret. `kind` is what Google's tokens have after `ya29.`.
pub(crate) fn issue(world: &World, kind: &str, holder: Holder) -> String {
    let token = format!("ya29.{kind}.{}", encode(random::<96>()));
    world.calls.secret(&token);
    let mut gcp = world.gcp();
    let now = now();
    // A bench buys tokens for hours; what has expired an hour ago is no longer told from an invention.
    gcp.tokens.retain(|_, held| held.expires + 3600 > now);
    gcp.tokens.insert(token.clone(), holder);
    token
}

/// The token of a request.
pub(crate) fn bearer(asked: &Asked) -> Option<&str> {
    asked.header("authorization")?.strip_prefix("Bearer ")
}

impl State {
    /// Who the caller of `service` is, if the request proves it.
    pub(crate) fn caller(&self, asked: &Asked, service: &str) -> Result<&Holder, Refusal> {
        let unauthenticated = |reason| errors::unauthenticated(reason, service);
        let bearer = bearer(asked).ok_or_else(|| unauthenticated("CREDENTIALS_MISSING"))?;
        let holder = self.tokens.get(bearer);
        let holder = holder.ok_or_else(|| unauthenticated("ACCESS_TOKEN_TYPE_UNSUPPORTED"))?;
        if holder.expires <= now() {
            return Err(unauthenticated("ACCESS_TOKEN_EXPIRED"));
        }
        if let Some(email) = holder.member.strip_prefix("serviceAccount:")
            && self
                .accounts
                .get(email)
                .is_none_or(|account| account.disabled)
        {
            return Err(unauthenticated("ACCOUNT_STATE_INVALID"));
        }
        Ok(holder)
    }

    /// Whether `holder` may call `service` at all: its scope, and the project that is billed.
    pub(crate) fn admitted(
        &self,
        asked: &Asked,
        service: &str,
        holder: &Holder,
    ) -> Result<(), Refusal> {
        let own = if service == super::KMS_HOST {
            KMS_SCOPE
        } else {
            IAM_SCOPE
        };
        if !holder
            .scopes
            .iter()
            .any(|scope| scope == CLOUD_PLATFORM || scope == own)
        {
            return Err(errors::scopes(service));
        }
        let project = match asked.header("x-goog-user-project") {
            Some(project) => {
                let resource = format!("projects/{project}");
                if !self.allowed(&holder.member, &resource, iam::USE_SERVICE) {
                    return Err(errors::user_project(project, service));
                }
                Some(project)
            }
            None => self.project_of(&holder.member),
        };
        let project = project.and_then(|id| self.projects.get(id));
        match project {
            Some(project) if project.disabled.contains(service) => {
                Err(errors::service_disabled(service, project.number))
            }
            _ => Ok(()),
        }
    }

    /// The project of a service account or of a pool.
    fn project_of(&self, member: &str) -> Option<&str> {
        if let Some(email) = member.strip_prefix("serviceAccount:") {
            return names::account_project(email)
                .and_then(|id| self.projects.get_key_value(id))
                .map(|(id, _)| id.as_str());
        }
        let number = member.split("/projects/").nth(1)?.split('/').next()?;
        self.project_of_number(number)
    }
}
