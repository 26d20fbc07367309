//! A replica that has not listed all objects yet.

use kube::core::DeserializeGuard;
use kube::runtime::watcher;

use super::*;
use crate::controller::Syncing;
use crate::controller::context::Context;
use crate::controller::objects::Objects;

async fn asked(ctx: &Arc<Context>) -> Result<(), Refused> {
    let held = serving::hold(ctx, &tenant()).await.map(drop);
    if held == Err(Refused::Starting) {
        assert_eq!(serving::at_hand(ctx, &tenant()).map(drop), held);
    }
    held
}

#[test]
fn nobody_is_served_before_every_watch_has_listed_its_objects() {
    runtime().block_on(async {
        for replica in [0, 1] {
            let mut town = Town::new(1).await;
            town.pass(1).await;
            let ctx = &town.processes[replica].ctx;
            assert_eq!(asked(ctx).await, Ok(()), "it has seen all, and keys");
            let ctx = Arc::new(Context {
                syncing: Syncing::new(2),
                ..ctx.as_ref().clone()
            });
            let watches = [NAMESPACE, "elsewhere"];
            let watches = watches.map(|one| Objects::new(ctx.clone(), Some(one.to_owned())));
            let [mut own, mut other] = watches;
            let object = || DeserializeGuard(Ok(town.object()));
            for event in [
                watcher::Event::Init,
                watcher::Event::InitApply(object()),
                watcher::Event::InitDone,
                watcher::Event::Apply(object()),
                // Listed again, it is the same watch.
                watcher::Event::Init,
                watcher::Event::InitApply(object()),
                watcher::Event::InitDone,
            ] {
                own.take(event);
                assert_eq!(asked(&ctx).await, Err(Refused::Starting));
            }
            other.take(watcher::Event::Init);
            assert_eq!(asked(&ctx).await, Err(Refused::Starting));
            other.take(watcher::Event::InitDone);
            assert_eq!(asked(&ctx).await, Ok(()), "on replica {replica}");
        }
    });
}
