//! What a replica does when it becomes the holder of the shard, and when it is no longer.

use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use crate::controller::context::Context;
use crate::random;

/// Learns the claims when this replica becomes holder; forgets everything when it is no longer.
pub async fn follow(ctx: Context, hold: watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
    let mut ownership = ctx.ownership.clone();
    let work = async {
        loop {
            let holder = ownership.borrow_and_update().verifies();
            ctx.metrics.set_holder(holder);
            if holder {
                tokio::select! {
                    () = learn_claims(&ctx) => { hold.send_replace(true); }
                    changed = ownership.wait_for(|now| !now.verifies()) => {
                        match changed { Ok(_) => continue, Err(_) => return }
                    }
                }
            } else {
                hold.send_replace(false);
                ctx.forget_all();
            }
            let changed = ownership.wait_for(|now| now.verifies() != holder);
            if changed.await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn learn_claims(ctx: &Context) {
    loop {
        match ctx.learn_claims().await {
            Ok(()) => return,
            Err(error) => warn!(%error, "the claims on record could not be read"),
        }
        tokio::time::sleep(Duration::from_secs(1).mul_f64(0.5 + random::fraction())).await;
    }
}
