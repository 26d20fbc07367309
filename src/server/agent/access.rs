//! Who calls, and whether the call is served: in the order that lets nobody cause work for a tenant
//! that is none of theirs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderValue, header};

use super::Agent;
use super::error::{Error, Kind};
use super::limits::Call;
use crate::clock::Moment;
use crate::controller::serving;
use crate::provider::TenantId;
use crate::server::reviews::Right;
use crate::session::caller::Caller;
use crate::session::roster::Seen;
use crate::session::token::{self, Claims, Expected, Unverified};
use crate::session::{Hold, Refused, Version};

pub const SESSION_HEADER: &str = "x-session-token";

/// A call that is served.
pub struct Admitted {
    pub tenant: TenantId,
    pub hold: Arc<Hold>,
    pub claims: Claims,
    since: Moment,
}

/// A caller with a right on a tenant, and the session that it shows.
pub struct Visitor {
    pub caller: Arc<Caller>,
    session: Unverified,
}

impl Visitor {
    pub fn tenant(&self) -> &TenantId {
        self.session.tenant()
    }
}

impl Agent {
    /// Who calls, as the API server says.
    pub(super) async fn caller(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<Arc<Caller>, Error> {
        Ok(self.reviews.caller(peer, bearer(headers)).await?)
    }

    /// Whether the caller has this right on the tenant, and has not used it too often.
    pub(super) async fn may(
        &self,
        caller: &Arc<Caller>,
        tenant: &TenantId,
        right: Right,
        call: Call,
    ) -> Result<(), Error> {
        self.reviews.may(caller, tenant, right).await?;
        Ok(self.limits.take(tenant, caller, call)?)
    }

    /// The first half of an admission, before the body is read.
    pub(super) async fn visitor(
        &self,
        headers: &HeaderMap,
        caller: Arc<Caller>,
        rights: &[Right],
    ) -> Result<Visitor, Error> {
        let shown = single(headers, SESSION_HEADER)
            .ok_or_else(|| {
                Error::session(
                    "The header X-Session-Token is missing, or there twice: get a session with POST \
                     /agent/v1/session.",
                )
            })?
            .to_str()
            .map_err(|_| token::Refused::Malformed)?;
        let session = Unverified::parse(shown)?;
        for right in rights {
            self.reviews.may(&caller, session.tenant(), *right).await?;
        }
        self.limits.take(session.tenant(), &caller, Call::Data)?;
        Ok(Visitor { caller, session })
    }

    /// The second half: the tenant's keys, on a fresh proof, and a session that holds for them.
    pub(super) async fn admit(&self, visitor: Visitor) -> Result<Admitted, Error> {
        let Visitor { caller, session } = visitor;
        let tenant = session.tenant().clone();
        let hold = self.hold(&tenant).await?;
        let key = session.key_id().clone();
        let since = self.ctx.clock.now();
        let version = serving::version(&self.ctx, &tenant, &hold, &key, since);
        let (hold, version) = match version.await {
            Ok(found) => found,
            Err(Refused::UnknownKey | Refused::ErasedKey) => {
                return Err(Error::session(
                    "The master key that this session was made with is no more: get a new session \
                     with POST /agent/v1/session.",
                ));
            }
            Err(refused) => return Err(Error::of_tenant(&tenant, &refused)),
        };
        let now = self.ctx.clock.now();
        let expected = Expected {
            tenant_uid: &hold.tenant_uid,
            caller: token::Caller::of(&caller.digest()),
            epoch: hold.epoch,
            ttl: hold.terms.ttl.as_secs(),
            now: now.wall.as_secs(),
        };
        let claims = session.verify(version.session_key(&hold.tenant_uid), &expected)?;
        let seen = |seen: Option<&Seen>| seen.is_none_or(|seen| seen.goes_on(claims.issued, now));
        if !self.ctx.roster.with(&tenant, seen) {
            return Err(token::Refused::EarlierEpoch.into());
        }
        if claims.epoch > hold.epoch {
            // Another replica knows of a seal that this one has not seen yet.
            serving::sealed_elsewhere(&self.ctx, &tenant);
            return Err(Error::of_tenant(&tenant, &Refused::Unproved(None)));
        }
        Ok(Admitted {
            tenant,
            hold,
            claims,
            since,
        })
    }

    /// For a call that is several at once.
    pub(super) fn take_more(&self, visitor: &Visitor, more: usize) -> Result<(), Error> {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if more > 0 {
            let (tenant, caller) = (visitor.session.tenant(), &visitor.caller);
            self.limits.take(tenant, caller, Call::More(more))?;
        }
        Ok(())
    }

    /// Whether what was admitted may go on: a call of many parts may outlast its proof.
    pub(super) fn still(&self, admitted: &Admitted) -> Result<(), Error> {
        serving::still(&self.ctx, &admitted.tenant, &admitted.hold)
            .map(drop)
            .map_err(|refused| Error::of_tenant(&admitted.tenant, &refused))
    }

    pub(super) async fn hold(&self, tenant: &TenantId) -> Result<Arc<Hold>, Error> {
        serving::hold(&self.ctx, tenant)
            .await
            .map_err(|refused| Error::of_tenant(tenant, &refused))
    }

    pub(super) async fn version(
        &self,
        admitted: &Admitted,
        key: &crate::record::keyring::KeyId,
    ) -> Result<Arc<Version>, Error> {
        let (tenant, hold) = (&admitted.tenant, &admitted.hold);
        serving::version(&self.ctx, tenant, hold, key, admitted.since)
            .await
            .map(|(_, version)| version)
            .map_err(|refused| Error::of_tenant(&admitted.tenant, &refused))
    }
}

/// The one value of a header; nothing when it is there twice, for who is to say which one is meant.
fn single(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

/// The token that is shown; empty where there is none.
pub fn bearer(headers: &HeaderMap) -> &str {
    let shown = single(headers, header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = shown
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.map_or("", |(_, token)| token.trim())
}

/// The token of a new session; nothing when the proof is about to end.
pub fn issue(
    hold: &Hold,
    tenant: &TenantId,
    caller: &Caller,
    now: Moment,
) -> Option<(String, Claims)> {
    let issued = now.wall.as_secs();
    let expires = end(hold, now);
    if expires <= issued + SHORTEST.as_secs() {
        return None;
    }
    let version = hold.active();
    let claims = Claims {
        tenant: tenant.clone(),
        key_id: version.id().clone(),
        epoch: hold.epoch,
        issued,
        expires,
        caller: token::Caller::of(&caller.digest()),
    };
    let uid = &hold.tenant_uid;
    let token = token::issue(version.session_key(uid), uid, &claims)?;
    Some((token, claims))
}

/// When what begins now ends, in Unix seconds.
pub fn end(hold: &Hold, now: Moment) -> u64 {
    (now.wall + hold.session(now)).as_secs()
}

/// A session that ends sooner is not worth its call.
const SHORTEST: Duration = Duration::from_secs(1);

/// When it ends, as the API writes it.
pub fn time(unix_seconds: u64) -> Result<String, Error> {
    let seconds = i64::try_from(unix_seconds).ok();
    let at = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let at = at.ok_or_else(|| Error::new(Kind::KmsUnavailable, "the clock is out of range"))?;
    Ok(at.to_string())
}

#[cfg(test)]
mod tests;
