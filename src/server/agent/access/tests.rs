//! A session that knows of a seal its replica has not seen, and a call of many parts in whose midst the tenant
//! is sealed: two replicas over the model's cloud, store and clocks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::json;

use super::*;
use crate::clock::Clock;
use crate::controller::Syncing;
use crate::controller::context::Context;
use crate::controller::histories::clock::{Hands, runtime};
use crate::controller::histories::cloud::Mood;
use crate::controller::histories::process::tenant;
use crate::controller::histories::replicas::Town;
use crate::lock::lock;
use crate::session::caller::tests::{answer, read};
use crate::session::roster::{Object, Veto};

const HOLDER: usize = 0;
const GUEST: usize = 1;
const ITEMS: usize = 100;

/// Where both have seen a tenant that is active, a while ago.
async fn town() -> Town {
    let mut town = Town::new(1).await;
    town.pass(1).await;
    town
}

fn caller() -> Arc<Caller> {
    Arc::new(read(answer()).expect("a caller"))
}

impl Agent {
    fn at(town: &Town, replica: usize) -> Self {
        Self::new(town.processes[replica].ctx.clone())
    }

    /// A session that begins here.
    async fn begins(&self) -> (String, Claims) {
        let hold = self.hold(&tenant()).await.expect("a proof");
        issue(&hold, &tenant(), &caller(), self.ctx.clock.now()).expect("a session")
    }

    /// What comes of a session that is shown here.
    async fn shown(&self, token: &str) -> Result<Admitted, Kind> {
        let admitted = self.admit(visitor(token)).await;
        admitted.map_err(|error| error.kind)
    }

    async fn encrypted(&self, token: &str) -> String {
        let body = json!({ "plaintext": STANDARD.encode("hello") }).to_string();
        let sealed = self.encrypt(visitor(token), body.as_bytes()).await;
        sealed.expect("served").ciphertext
    }

    fn has_keys(&self) -> bool {
        matches!(serving::at_hand(&self.ctx, &tenant()), Ok(Some(_)))
    }
}

fn visitor(token: &str) -> Visitor {
    Visitor {
        caller: caller(),
        session: Unverified::parse(token).expect("a token"),
    }
}

#[test]
fn before_all_objects_are_listed_every_call_is_to_be_tried_again() {
    runtime().block_on(async {
        let town = town().await;
        for replica in [HOLDER, GUEST] {
            let agent = Agent::at(&town, replica);
            let (token, _) = agent.begins().await;
            assert!(agent.shown(&token).await.is_ok());
            let starting = Agent::new(Arc::new(Context {
                syncing: Syncing::new(1),
                ..agent.ctx.as_ref().clone()
            }));
            let refused = [
                starting.hold(&tenant()).await.err(), // what a session asks for
                starting.admit(visitor(&token)).await.err(),
            ];
            for error in refused {
                let error = error.expect("served");
                assert_eq!(error.kind, Kind::KmsUnavailable);
                assert!(error.message.contains("just started"), "{}", error.message);
                let answer = error.answer();
                assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(answer.headers()["retry-after"], "1");
            }
        }
    });
}

#[test]
fn a_session_of_a_later_epoch_is_not_served_before_the_record_is_read_again() {
    runtime().block_on(async {
        let mut town = town().await;
        let (holder, guest) = (Agent::at(&town, HOLDER), Agent::at(&town, GUEST));
        let (older, _) = holder.begins().await;
        let known = guest.shown(&older).await.expect("served").hold.epoch;
        // The guest's watch is late: it sees nothing of this.
        for suspended in [true, false] {
            town.suspend(suspended);
            town.pass(1).await;
        }
        let (newer, claims) = holder.begins().await;
        assert!(claims.epoch > known && guest.has_keys(), "it is late");

        let refused = guest.shown(&newer).await.map(drop);
        assert_eq!(refused, Err(Kind::KmsUnavailable));
        // What was proved before the seal is void for every session, and nothing else tells the guest.
        assert!(!guest.has_keys(), "keys from before a seal");
        town.pass(1).await; // what is proved at that very moment is void, too
        let ended = guest.shown(&older).await.map(drop);
        assert_eq!(ended, Err(Kind::SessionInvalid));
        let served = guest.shown(&newer).await.expect("it has read the record");
        assert_eq!(served.hold.epoch, claims.epoch);
    });
}

#[test]
fn a_session_ends_with_a_suspension_that_was_over_before_anybody_looked() {
    runtime().block_on(async {
        for replica in [HOLDER, GUEST] {
            let mut town = town().await;
            let agent = Agent::at(&town, replica);
            let (before, _) = agent.begins().await;
            assert!(agent.shown(&before).await.is_ok());
            town.pass(1).await;
            for suspended in [true, false] {
                town.suspend(suspended);
                town.see(replica, false);
            }
            town.pass(12).await;
            let ended = agent.shown(&before).await.map(drop);
            assert_eq!(ended, Err(Kind::SessionInvalid), "{replica}");
            let (after, _) = agent.begins().await;
            assert!(agent.shown(&after).await.is_ok(), "{replica}");
        }
    });
}

#[test]
fn a_session_ends_with_a_seal_that_only_its_replica_made() {
    runtime().block_on(async {
        let mut town = town().await;
        let guest = Agent::at(&town, GUEST);
        let (before, _) = guest.begins().await;
        assert!(guest.shown(&before).await.is_ok());
        town.processes[HOLDER].next = Duration::MAX; // it does not look meanwhile
        town.cloud.set_mood(0, Mood::Denies);
        town.pass(15).await;
        let sealed = guest.shown(&before).await.map(drop);
        assert_eq!(sealed, Err(Kind::TenantSealed));
        town.cloud.set_mood(0, Mood::Works);
        town.pass(30).await;
        let ended = guest.shown(&before).await.map(drop);
        assert_eq!(ended, Err(Kind::SessionInvalid));
        let (after, _) = guest.begins().await;
        assert!(guest.shown(&after).await.is_ok());
    });
}

#[test]
fn the_holder_has_sealed_whatever_was_sealed_and_believes_no_other_epoch() {
    runtime().block_on(async {
        let town = town().await;
        let holder = Agent::at(&town, HOLDER);
        let hold = holder.hold(&tenant()).await.expect("a proof");
        let (own, claims) = holder.begins().await;
        let later = Claims {
            epoch: claims.epoch + 1,
            ..claims
        };
        let uid = &hold.tenant_uid;
        let key = hold.active().session_key(uid);
        let later = token::issue(key, uid, &later).expect("a name");
        let refused = holder.shown(&later).await.map(drop);
        assert_eq!(refused, Err(Kind::KmsUnavailable));
        assert!(holder.shown(&own).await.is_ok(), "a token ended a proof");
    });
}

#[test]
fn a_former_key_that_opens_after_the_seal_gives_nothing() {
    runtime().block_on(async {
        for replica in [HOLDER, GUEST] {
            let mut town = town().await;
            let agent = Agent::at(&town, replica);
            let (token, claims) = agent.begins().await;
            let ciphertext = agent.encrypted(&token).await;
            town.turn();
            town.pass(1).await;
            town.see(replica, false);
            town.pass(12).await;
            let (token, later) = agent.begins().await;
            assert_ne!(claims.key_id, later.key_id, "not rotated");

            town.cloud.set_mood(0, Mood::Hangs);
            let body = json!({ "ciphertext": ciphertext }).to_string();
            let opened = agent.decrypt(visitor(&token), body.as_bytes());
            let sealed = async {
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                says(&agent.ctx, Some(Veto::Sealed));
                town.cloud.set_mood(0, Mood::Works);
            };
            let (opened, ()) = tokio::join!(opened, sealed);
            let kind = opened.map(drop).map_err(|error| error.kind);
            assert_eq!(kind, Err(Kind::TenantSealed), "on replica {replica}");
        }
    });
}

/// A clock at one of whose looks something happens.
struct Interrupted {
    hands: Arc<Hands>,
    looks: AtomicUsize,
    at: usize,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Clock for Interrupted {
    fn now(&self) -> Moment {
        if self.looks.fetch_add(1, Ordering::Relaxed) == self.at
            && let Some(then) = lock(&self.then).take()
        {
            then();
        }
        self.hands.now()
    }
}

/// What the objects say of the tenant from now on.
fn says(ctx: &Context, veto: Option<Veto>) {
    let object = ctx.roster.get(&tenant()).expect("seen").object;
    let object = Object { veto, ..object };
    ctx.roster.see(tenant(), object, ctx.clock.now(), true);
}

/// Rewraps many at a replica where this happens at one of the looks at the clock; how often it was looked at.
async fn rewrapped(
    replica: usize,
    at: usize,
    then: impl FnOnce(&Context, &Hands) + Send + 'static,
) -> (Result<usize, Kind>, usize) {
    let town = town().await;
    let ctx = town.processes[replica].ctx.clone();
    let agent = Agent::at(&town, replica);
    let (token, _) = agent.begins().await;
    let ciphertext = agent.encrypted(&token).await;
    let items = vec![json!({ "ciphertext": ciphertext }); ITEMS];
    let body = json!({ "items": items }).to_string();

    let hands = town.clock.clone();
    let (its, clocks) = (ctx.clone(), hands.clone());
    let clock = Arc::new(Interrupted {
        hands,
        looks: AtomicUsize::new(0),
        at,
        then: Mutex::new(Some(Box::new(move || then(&its, &clocks)))),
    });
    let agent = Agent::new(Arc::new(Context {
        clock: clock.clone(),
        ..ctx.as_ref().clone()
    }));
    let answer = agent.rewrap(visitor(&token), body.as_bytes()).await;
    let answer = answer.map(|answer| answer.items.len());
    let looks = clock.looks.load(Ordering::Relaxed);
    (answer.map_err(|error| error.kind), looks)
}

#[test]
fn a_batch_ends_where_the_tenant_is_sealed() {
    type Then = fn(&Context, &Hands);
    let rows: [(&str, Then, Kind); 7] = [
        (
            "sealed",
            |ctx, _| says(ctx, Some(Veto::Sealed)),
            Kind::TenantSealed,
        ),
        (
            "suspended",
            |ctx, _| says(ctx, Some(Veto::Suspended)),
            Kind::TenantSuspended,
        ),
        (
            "deleted",
            |ctx, _| ctx.roster.remove(&tenant()),
            Kind::TenantNotFound,
        ),
        (
            "sealed and unsealed",
            |ctx, _| {
                says(ctx, Some(Veto::Sealed));
                says(ctx, None);
            },
            Kind::KmsUnavailable,
        ),
        (
            "doubted",
            |ctx, _| ctx.keys.wipe(&tenant()),
            Kind::KmsUnavailable,
        ),
        (
            "the proof is too old",
            |_, hands| hands.pass(Duration::from_mins(1)),
            Kind::KmsUnavailable,
        ),
        (
            "proved again in a later epoch",
            |ctx, _| {
                let hold = ctx.keys.get(&tenant(), ctx.clock.now()).expect("held");
                let mut later = hold.as_ref().clone();
                later.epoch += 1;
                ctx.keys.hold(&tenant(), later);
            },
            Kind::KmsUnavailable,
        ),
    ];
    runtime().block_on(async {
        for replica in [HOLDER, GUEST] {
            let (whole, looks) = rewrapped(replica, usize::MAX, |_, _| ()).await;
            assert_eq!(whole, Ok(ITEMS));
            assert!(looks > ITEMS, "{looks} looks");
            for (name, then, kind) in rows {
                let (answer, _) = rewrapped(replica, looks / 2, then).await;
                assert_eq!(answer, Err(kind), "{name}, on replica {replica}");
            }
        }
    });
}
