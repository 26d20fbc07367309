//! The objects as a watch has seen them, and what is noted of them at that moment, on every replica.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use super::context::Context;
use super::object::{self, Guarded};
use super::sighting;
use crate::api::TenantKms;
use crate::lock::lock;
use crate::provider::TenantId;
use crate::session::roster::Seen;

/// How many watches have not listed everything yet.
#[derive(Debug)]
pub struct Syncing(AtomicUsize);

impl Syncing {
    pub fn new(watches: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(watches)))
    }

    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    fn one_done(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The objects of one watch.
pub struct Objects {
    ctx: Arc<Context>,
    /// The one that is watched, if it is not all.
    namespace: Option<String>,
    seen: HashMap<TenantId, Arc<Guarded>>,
    /// What a listing under way has brought so far.
    listing: HashMap<TenantId, Arc<Guarded>>,
    synced: bool,
}

impl Objects {
    pub fn new(ctx: Arc<Context>, namespace: Option<String>) -> Self {
        Self {
            ctx,
            namespace,
            seen: HashMap::new(),
            listing: HashMap::new(),
            synced: false,
        }
    }

    /// Nothing before all were listed once.
    pub fn get(&self, id: &TenantId) -> Option<Arc<Guarded>> {
        self.seen.get(id).cloned()
    }

    pub fn ids(&self) -> impl Iterator<Item = &TenantId> {
        self.seen.keys()
    }

    /// Takes what the watch brings. Gives the tenants that are to be looked at.
    pub fn take(&mut self, event: Event<DeserializeGuard<TenantKms>>) -> Vec<TenantId> {
        match event {
            Event::Apply(object) => {
                let id = self.id_of(&object);
                let object = object::read(id.clone(), object);
                note(&self.ctx, &id, &object, false);
                self.seen.insert(id.clone(), Arc::new(object));
                vec![id]
            }
            Event::Delete(object) => {
                let id = self.id_of(&object);
                self.seen.remove(&id);
                gone(&self.ctx, &id);
                Vec::new()
            }
            Event::Init => {
                self.listing = HashMap::new();
                Vec::new()
            }
            Event::InitApply(object) => {
                let id = self.id_of(&object);
                let object = object::read(id.clone(), object);
                self.listing.insert(id, Arc::new(object));
                Vec::new()
            }
            Event::InitDone => {
                self.listed();
                self.seen.keys().cloned().collect()
            }
        }
    }

    /// A look is over. One at a tenant that went meanwhile leaves nothing behind.
    pub fn looked(&self, id: &TenantId) {
        if !self.seen.contains_key(id) {
            gone(&self.ctx, id);
        }
    }

    /// Everything is listed. Drops the memory of tenants whose object is gone, also of those that went
    /// while nobody watched.
    fn listed(&mut self) {
        self.seen = std::mem::take(&mut self.listing);
        for (id, object) in &self.seen {
            note(&self.ctx, id, object, true);
        }
        let of_another = |id: &TenantId| {
            let namespace = self.namespace.as_ref();
            namespace.is_some_and(|one| *one != id.namespace)
        };
        let alive = |id: &TenantId| of_another(id) || self.seen.contains_key(id);
        let mut lost = self.ctx.roster.keep(alive);
        let known = lock(&self.ctx.tenants);
        lost.extend(known.keys().filter(|id| !alive(id)).cloned());
        drop(known);
        for id in lost {
            gone(&self.ctx, &id);
        }
        if !self.synced {
            self.synced = true;
            self.ctx.syncing.one_done();
        }
    }

    /// The name of its tenant, which is kept once.
    fn id_of(&self, object: &DeserializeGuard<TenantKms>) -> TenantId {
        let id = TenantId::new(object.namespace().unwrap_or_default(), object.name_any());
        let known = self.seen.get_key_value(&id);
        known.map_or(id, |(known, _)| known.clone())
    }
}

/// What forbids the use of a tenant holds at once. The holder's own word comes before its echo.
pub(super) fn note(ctx: &Context, id: &TenantId, object: &Guarded, relisted: bool) {
    let sighting = sighting::of(object, &ctx.installation);
    let vetoed = sighting.veto.is_some();
    let guest = ctx.is_guest();
    let is_known = |seen: &Seen| seen.object.uid == sighting.uid;
    if !ctx.roster.with(id, |seen| seen.is_some_and(is_known)) {
        ctx.namespaces.forget(&id.namespace);
    }
    ctx.roster
        .see(id.clone(), sighting, ctx.clock.now(), relisted || guest);
    if vetoed && guest {
        ctx.wipe(id);
    }
    ctx.guests.wake(id);
    ctx.keys.nudge(id);
}

fn gone(ctx: &Context, id: &TenantId) {
    ctx.namespaces.forget(&id.namespace);
    ctx.roster.remove(id);
    ctx.forget(id);
    ctx.wipe(id);
    ctx.guests.wake(id);
    ctx.keys.nudge(id);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::api::{ProviderKind, TenantKmsSpec};
    use crate::controller::histories::clock::Hands;
    use crate::controller::histories::cloud::Cloud;
    use crate::controller::histories::process::{NAMESPACE, Process};
    use crate::controller::histories::store::Store;

    fn object(name: &str, uid: &str) -> DeserializeGuard<TenantKms> {
        let spec = TenantKmsSpec::new(ProviderKind::Local, "local://k");
        let mut object = TenantKms::new(name, spec);
        object.metadata.namespace = Some(NAMESPACE.to_owned());
        object.metadata.uid = Some(uid.to_owned());
        DeserializeGuard(Ok(object))
    }

    #[tokio::test]
    async fn whoever_is_new_is_bound_to_the_namespace_as_it_is_then_whatever_the_clocks_say() {
        let clock = Arc::new(Hands::new());
        let cloud = Cloud::new(clock.clone(), true);
        let uid = Arc::new(Mutex::new(String::new()));
        let process = Process::start(&clock, &cloud, &Store::new(cloud.clone()), &uid).await;
        let ctx = Arc::new(Context {
            syncing: Syncing::new(1),
            ..process.ctx.as_ref().clone()
        });
        let mut objects = Objects::new(ctx.clone(), None);
        let rows = [
            ("created", vec![Event::Apply(object("acme", "1"))], true),
            ("changed", vec![Event::Apply(object("acme", "1"))], false),
            ("gone", vec![Event::Delete(object("acme", "1"))], true),
            ("again", vec![Event::Apply(object("acme", "2"))], true),
            ("replaced", vec![Event::Apply(object("acme", "3"))], true),
            (
                "listed",
                vec![
                    Event::Init,
                    Event::InitApply(object("acme", "3")),
                    Event::InitDone,
                ],
                false,
            ),
            (
                "listed, another",
                vec![
                    Event::Init,
                    Event::InitApply(object("globex", "4")),
                    Event::InitDone,
                ],
                true,
            ),
            ("listed, none", vec![Event::Init, Event::InitDone], true),
        ];
        let mut known = String::new();
        for (then, events, anew) in rows {
            then.clone_into(&mut lock(&uid));
            for event in events {
                objects.take(event);
            }
            let bound = ctx.namespaces.uid(NAMESPACE).await.expect("answered");
            let expected = if anew { then } else { &known };
            assert_eq!(bound, expected, "{then}");
            known = bound;
        }
    }
}
