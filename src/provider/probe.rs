//! The probe: wrap 32 random bytes, unwrap, compare in constant time. It proves that the key can
//! be used both ways now; it never touches a tenant's own master key.

use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, rand};
use zeroize::Zeroizing;

use super::{Failure, Kms};
use crate::api::Reason;

/// What a successful probe showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The version of the customer's key that wrapped and unwrapped.
    pub kek_version: String,
}

/// A part of a probe, for those who show progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first request of a credential fetches its token too.
    Wrap,
    Unwrap,
}

/// One probe. A proof is dated before this is called, not after.
pub async fn probe(kms: &dyn Kms, tenant_uid: &str) -> Result<Proved, Failure> {
    probe_observed(kms, tenant_uid, |_, _, _| {}).await
}

/// [`probe`], telling each step's duration and outcome as it ends.
pub async fn probe_observed(
    kms: &dyn Kms,
    tenant_uid: &str,
    mut observe: impl FnMut(Step, Duration, Option<&Failure>) + Send,
) -> Result<Proved, Failure> {
    let mut plaintext = Zeroizing::new(vec![0; 32]);
    rand::fill(&mut plaintext).map_err(|_| {
        Failure::transient(
            Reason::ProviderError,
            "the machine gave no random bytes; look at the node: kubectl describe node '<node>'",
        )
    })?;
    let begun = Instant::now();
    let wrapped = kms.wrap(tenant_uid, &plaintext).await;
    observe(Step::Wrap, begun.elapsed(), wrapped.as_ref().err());
    let wrapped = wrapped?;

    let begun = Instant::now();
    let same = kms
        .unwrap(tenant_uid, &wrapped)
        .await
        .and_then(|unwrapped| {
            constant_time::verify_slices_are_equal(&plaintext, &unwrapped).map_err(|_| {
            Failure::transient(
                Reason::ProviderError,
                "the key service unwrapped to other bytes than were wrapped. Check that nothing \
                 between the operator and the key service changes answers, such as a proxy that \
                 inspects TLS: tenant-kms verify -f '<manifest>'",
            )
        })
        });
    observe(Step::Unwrap, begun.elapsed(), same.as_ref().err());
    same?;
    Ok(Proved {
        kek_version: wrapped.kek_version,
    })
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::provider::{Kind, Wrapped};

    /// Wraps by turning every bit; `flip` is what unwrapping adds to the first byte.
    struct Mirror {
        flip: u8,
    }

    #[async_trait]
    impl Kms for Mirror {
        async fn wrap(&self, _: &str, plaintext: &Zeroizing<Vec<u8>>) -> Result<Wrapped, Failure> {
            Ok(Wrapped {
                ciphertext: plaintext.iter().map(|b| !b).collect(),
                kek_version: "v1".to_owned(),
            })
        }

        async fn unwrap(&self, _: &str, wrapped: &Wrapped) -> Result<Zeroizing<Vec<u8>>, Failure> {
            let mut bytes: Vec<u8> = wrapped.ciphertext.iter().map(|b| !b).collect();
            bytes[0] ^= self.flip;
            Ok(Zeroizing::new(bytes))
        }

        fn key_id(&self) -> &'static str {
            "mirror"
        }

        fn identity(&self) -> &'static str {
            "nobody"
        }
    }

    #[tokio::test]
    async fn one_wrong_bit_is_no_proof_and_no_denial() {
        let proved = probe(&Mirror { flip: 0 }, "uid").await.expect("proved");
        assert_eq!(proved.kek_version, "v1");
        let failure = probe(&Mirror { flip: 1 }, "uid").await.expect_err("wrong");
        assert_eq!(
            (failure.kind, failure.reason),
            (Kind::Transient, Reason::ProviderError)
        );
    }
}
