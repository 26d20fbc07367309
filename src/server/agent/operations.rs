//! What each call does once it is admitted.

use std::sync::Arc;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::Agent;
use super::access::{self, Admitted, Visitor};
use super::body::{
    self, Base64, Ciphertext, Clear, DataKey, DataKeyRequest, DecryptRequest, EncryptRequest,
    Plaintext, RewrapAnswer, RewrapRequest, Rewrapped, SessionAnswer, SessionRequest,
};
use super::error::{Error, ErrorDetail, Kind};
use super::limits::Call;
use crate::provider::TenantId;
use crate::record::keyring::KeyId;
use crate::server::reviews::Right;
use crate::session::caller::Caller;
use crate::session::envelope::MOST_AAD;
use crate::session::{Refused, envelope};

const DATA_KEY: usize = 32;

impl Agent {
    pub(super) async fn session(
        &self,
        caller: Arc<Caller>,
        bytes: &[u8],
    ) -> Result<SessionAnswer, Error> {
        let request: SessionRequest<'_> = body::read(bytes)?;
        let tenant = named(&request.tenant)?;
        self.may(&caller, &tenant, Right::Session, Call::Session)
            .await?;
        let hold = self.hold(&tenant).await?;
        let now = self.ctx.clock.now();
        let issued = access::issue(&hold, &tenant, &caller, now);
        let (token, claims) =
            issued.ok_or_else(|| Error::of_tenant(&tenant, &Refused::Unproved(None)))?;
        let ttl = claims.expires - claims.issued;
        Ok(SessionAnswer {
            session_token: token,
            expires_at: access::time(claims.expires)?,
            ttl_seconds: ttl,
            renew_after_seconds: ttl * 4 / 5,
        })
    }

    pub(super) async fn encrypt(
        &self,
        visitor: Visitor,
        bytes: &[u8],
    ) -> Result<Ciphertext, Error> {
        let request: EncryptRequest<'_> = body::read(bytes)?;
        let plaintext = request.plaintext.decode("plaintext")?;
        let aad = aad(request.aad.as_ref())?;
        let admitted = self.admit(visitor).await?;
        seal(&admitted, &plaintext, &aad)
    }

    pub(super) async fn decrypt(&self, visitor: Visitor, bytes: &[u8]) -> Result<Plaintext, Error> {
        let request: DecryptRequest<'_> = body::read(bytes)?;
        let ciphertext = request.ciphertext.decode("ciphertext")?;
        let aad = aad(request.aad.as_ref())?;
        let admitted = self.admit(visitor).await?;
        let (plaintext, key) = self.open(&admitted, &ciphertext, &aad).await?;
        Ok(Plaintext {
            plaintext: Clear::of(&plaintext),
            key_id: key.to_string(),
            keep_until: self.keep_until(&admitted)?,
        })
    }

    pub(super) async fn data_key(&self, visitor: Visitor, bytes: &[u8]) -> Result<DataKey, Error> {
        let request: DataKeyRequest<'_> = body::read(bytes)?;
        let aad = aad(request.aad.as_ref())?;
        let admitted = self.admit(visitor).await?;
        let mut key = Zeroizing::new([0; DATA_KEY]);
        rand::fill(&mut *key)?;
        let sealed = seal(&admitted, &*key, &aad)?;
        Ok(DataKey {
            plaintext: Clear::of(&*key),
            ciphertext: sealed.ciphertext,
            key_id: sealed.key_id,
            keep_until: self.keep_until(&admitted)?,
        })
    }

    pub(super) async fn rewrap(
        &self,
        visitor: Visitor,
        bytes: &[u8],
    ) -> Result<RewrapAnswer, Error> {
        let request: RewrapRequest<'_> = body::read(bytes)?;
        request.check()?;
        self.take_more(&visitor, request.items.len() - 1)?;
        let admitted = self.admit(visitor).await?;
        let mut items = Vec::with_capacity(request.items.len());
        for item in &request.items {
            self.still(&admitted)?;
            items.push(match self.again(&admitted, item).await {
                Ok(done) => Rewrapped::Done(done),
                // What is wrong with one item is no reason to refuse the others.
                Err(error) if is_of_item(error.kind) => Rewrapped::Failed {
                    error: ErrorDetail {
                        kind: error.kind,
                        message: error.message,
                    },
                },
                Err(error) => return Err(error),
            });
        }
        Ok(RewrapAnswer { items })
    }

    async fn again(
        &self,
        admitted: &Admitted,
        item: &DecryptRequest<'_>,
    ) -> Result<Ciphertext, Error> {
        let ciphertext = item.ciphertext.decode("ciphertext")?;
        let aad = aad(item.aad.as_ref())?;
        let (plaintext, _) = self.open(admitted, &ciphertext, &aad).await?;
        seal(admitted, &plaintext, &aad)
    }

    /// The end of the session, also of one that began on other terms.
    fn keep_until(&self, admitted: &Admitted) -> Result<String, Error> {
        let end = access::end(&admitted.hold, self.ctx.clock.now());
        access::time(admitted.claims.expires.min(end))
    }

    async fn open(
        &self,
        admitted: &Admitted,
        ciphertext: &[u8],
        aad: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, KeyId), Error> {
        let id = envelope::key_id(ciphertext).map_err(|_| Error::ciphertext())?;
        let version = self.version(admitted, &id).await?;
        let uid = &admitted.hold.tenant_uid;
        let opened = envelope::open(version.key(), uid, &id, ciphertext, aad);
        Ok((opened.map_err(|_| Error::ciphertext())?, id))
    }
}

fn is_of_item(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::CiphertextInvalid | Kind::KeyErased | Kind::InvalidRequest | Kind::PayloadTooLarge
    )
}

fn seal(admitted: &Admitted, plaintext: &[u8], aad: &[u8]) -> Result<Ciphertext, Error> {
    let version = admitted.hold.active();
    let uid = &admitted.hold.tenant_uid;
    let sealed = envelope::seal(version.key(), uid, version.id(), plaintext, aad);
    Ok(Ciphertext {
        ciphertext: body::encode(&sealed?),
        key_id: version.id().to_string(),
    })
}

fn aad(given: Option<&Base64<'_, MOST_AAD>>) -> Result<Zeroizing<Vec<u8>>, Error> {
    given.map_or_else(|| Ok(Zeroizing::default()), |aad| aad.decode("aad"))
}

fn named(tenant: &str) -> Result<TenantId, Error> {
    TenantId::parse(tenant).ok_or_else(|| {
        Error::invalid("tenant must be NAMESPACE/NAME of a TenantKms, as in tenants/acme.")
    })
}
