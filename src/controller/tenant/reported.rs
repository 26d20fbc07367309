//! The status that this process reported last. It is remembered, as others may write over it; while
//! the object says the same, what is remembered is the object that is watched anyway.

use std::sync::Arc;

use crate::api::TenantKmsStatus;
use crate::controller::object::Guarded;

#[derive(Debug)]
pub enum Reported {
    /// The object does not say so yet, or no more.
    Written(Box<TenantKmsStatus>),
    Seen(Arc<Guarded>),
}

impl Reported {
    pub fn new(status: TenantKmsStatus, object: &Arc<Guarded>) -> Self {
        if observed(object) == Some(&status) {
            Self::Seen(object.clone())
        } else {
            Self::Written(Box::new(status))
        }
    }

    pub fn status(&self) -> Option<&TenantKmsStatus> {
        match self {
            Self::Written(status) => Some(status),
            Self::Seen(object) => observed(object),
        }
    }
}

fn observed(object: &Guarded) -> Option<&TenantKmsStatus> {
    object.as_ref().ok()?.status.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Phase, ProviderKind, TenantKms, TenantKmsSpec};
    use crate::controller::object::tests::watched;

    fn status(phase: Phase) -> TenantKmsStatus {
        TenantKmsStatus {
            phase: Some(phase),
            ..TenantKmsStatus::default()
        }
    }

    fn object(phase: Phase) -> Arc<Guarded> {
        let spec = TenantKmsSpec::new(ProviderKind::Local, "local://k");
        let mut object = TenantKms::new("acme", spec);
        object.status = Some(status(phase));
        Arc::new(Ok(watched(&object)))
    }

    #[test]
    fn what_was_reported_is_what_others_do_not_change() {
        let own = status(Phase::Sealed);
        let kept = Reported::new(own.clone(), &object(Phase::Active));
        assert!(matches!(kept, Reported::Written(_)));
        assert_eq!(kept.status(), Some(&own));
    }

    #[test]
    fn a_status_that_the_object_has_is_not_kept_twice() {
        let object = object(Phase::Active);
        let kept = Reported::new(status(Phase::Active), &object);
        assert!(matches!(&kept, Reported::Seen(seen) if Arc::ptr_eq(seen, &object)));
        assert_eq!(kept.status(), Some(&status(Phase::Active)));
    }
}
