//! What makes an attempt due before its time, besides a request: the policy changed, a seal was seen, or a
//! no was heard.

use std::sync::Arc;

use super::context::{Context, Entry};
use super::reconcile;
use crate::clock::Moment;
use crate::provider::{Kind, TenantId};
use crate::seal::State;

/// The platform's own policy is evaluated as soon as it changes, not at the next check.
pub(super) fn look_at_policy(ctx: &Context, id: &TenantId, entry: &mut Entry, now: Moment) {
    let policy = ctx.policy.borrow().clone();
    if Arc::ptr_eq(&policy, &entry.policy) {
        return;
    }
    entry.policy = policy;
    if let Some(applied) = entry.tenant.applied() {
        let permitted = ctx.providers.permitted(id, &applied.spec);
        let denied = permitted.is_err_and(|failure| failure.kind == Kind::Denial);
        if let Some(seal) = entry.tenant.seal_mut()
            && denied
        {
            seal.request(now, false);
        }
    }
    entry.tenant.reconsider(now);
}

/// Somebody's status said that the tenant is sealed, or the key said no to something else than a check:
/// nothing is given out on what was proved before, so it is proved again at once.
pub(super) fn look_at_barrier(ctx: &Context, id: &TenantId, entry: &mut Entry, now: Moment) {
    let barrier = ctx.roster.with(id, |seen| seen?.barrier.clone());
    if barrier == entry.barrier {
        return;
    }
    entry.barrier.clone_from(&barrier);
    let (Some(seal), Some(barrier)) = (entry.tenant.seal_mut(), barrier) else {
        return;
    };
    let counted = seal
        .proof()
        .is_some_and(|proof| proof.boot <= barrier.at.boot);
    if *seal.state() != State::Active || !counted {
        return;
    }
    match barrier.denial {
        None => seal.request(now, false),
        Some(denial) => {
            if let Some(transition) = seal.denied(denial, now, (ctx.jitter)()) {
                entry.open.check.abandon();
                reconcile::note(ctx, id, entry, transition);
            }
        }
    }
}
