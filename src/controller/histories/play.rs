//! What each event does, and what must be true when everything is healthy again for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cloud::{Connector, FOREIGN, KEYS, MISSING};
use super::event::{Damage, Event};
use super::ledger::{all_ids, live_ids};
use super::process::{Process, tenant};
use super::world::World;
use crate::api::{ProviderKind, TenantKmsSpec};
use crate::lock::lock;
use crate::provider::{Anchor, Connect};
use crate::record::Record;
use crate::record::keyring::{Key, Keyring, wrapping};

const HOUR: Duration = Duration::from_secs(3_700);
/// Refused specs are tried every five minutes at last.
const PATIENCE: u64 = 13 * 60;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub async fn play(world: &mut World, event: Event) {
    match event {
        Event::Run(span) => return world.run(seconds(span)).await,
        Event::Sleep(span) => world.sleep(seconds(span)).await,
        Event::Clock(by) => world.clock.set(by),
        Event::Verify => world.ask("verify"),
        Event::Unseal => world.ask("unseal"),
        Event::Rotate => {
            world.sleep(HOUR).await;
            world.ask("rotate");
            world.run(seconds(7)).await;
        }
        Event::Turn(key) => world.cloud.turn(key),
        Event::Key(key) => world.respec(|spec| spec.kms_key_ref = KEYS[key].to_owned()),
        Event::Timing(interval) => world.set_timing(interval),
        Event::BadKey(foreign) => {
            let key = if foreign { FOREIGN } else { MISSING };
            world.respec(|spec| spec.kms_key_ref = key.to_owned());
        }
        Event::Mood(key, mood) => world.cloud.set_mood(key, mood),
        Event::Lie(lie) => world.cloud.set_lie(Some(lie)),
        Event::Surprise(calls, surprise) => world.cloud.surprise(calls, surprise),
        Event::Heal => heal(world),
        Event::Fault(writes, fault) => world.store.set_fault(Some((writes, fault))),
        Event::Reads(fail) => world.store.set_reads_fail(fail),
        Event::Crash => world.end(world.processes.len().wrapping_sub(1)),
        Event::Start => {
            if world.processes.is_empty() {
                world.start().await;
            }
        }
        Event::Second(unaware) => second(world, unaware).await,
        Event::StepDown => alone(world),
        Event::Copy => {
            if world.damaged.is_none() && !world.is_foreign() {
                world.store.copy();
            }
        }
        Event::Restore(which) => {
            alone(world);
            restore(world, which);
        }
        Event::RestoreWhileDown(which) => {
            end_all(world);
            restore(world, which);
            world.start().await;
        }
        Event::Delete => {
            alone(world);
            delete(world);
        }
        Event::DeleteWhileDown => {
            end_all(world);
            delete(world);
            world.start().await;
        }
        Event::Damage(damage) => hurt(world, damage),
        Event::Recreate(noticed) => recreate(world, noticed),
        Event::Namespace => {
            let uid = world.another("namespace");
            *lock(&world.namespace) = uid;
            world.store.drop_copies();
            recreate(world, true);
        }
        Event::EraseRetired(which) => erase(world, |keyring| {
            let retired = keyring.versions.iter();
            let retired = retired.filter(|one| matches!(one.key, Key::Retired { .. }));
            let ids: Vec<String> = retired.map(|one| one.id.to_string()).collect();
            let which = usize::try_from(which).ok()?.checked_rem(ids.len())?;
            ids.into_iter().nth(which)
        }),
        Event::EraseActive => erase(world, |keyring| Some(keyring.active()?.id.to_string())),
        Event::Suspend(suspend) => world.respec(|spec| spec.suspend = Some(suspend)),
        Event::Settle => return settle(world).await,
    }
    world.run(seconds(1)).await;
}

fn heal(world: &mut World) {
    world.cloud.heal();
    world.store.set_fault(None);
    world.store.set_reads_fail(false);
}

fn end_all(world: &mut World) {
    while !world.processes.is_empty() {
        world.end(0);
    }
}

/// Only the newest replica is left.
fn alone(world: &mut World) {
    while world.processes.len() > 1 {
        world.end(0);
    }
}

async fn second(world: &mut World, unaware: bool) {
    alone(world);
    let recorded = world.recorded();
    if let Some(first) = world.processes.first() {
        // A holder that remembers more than the record has cannot tell the next one.
        if !unaware || !first.remembers().is_subset(&recorded) {
            first.fence();
            world.store.ledger().only(&recorded);
        }
    }
    world.start().await;
}

/// A copy takes the place of the record. The one that is newer by its count stays; where both have
/// what the other has not, one of them is lost.
fn restore(world: &mut World, which: u64) {
    let Some(bytes) = world.store.copied(which) else {
        return;
    };
    let Ok(copy) = serde_json::from_slice::<Record>(&bytes) else {
        panic!("a copy of a record is one");
    };
    let known = world.processes.first().and_then(Process::known);
    let known = known.filter(|known| known.tenant_uid == copy.tenant_uid);
    let known = known.and_then(|known| known.keyring);
    world.damaged = None;
    world.store.put(Some(bytes));
    let copied = live_ids(copy.keyring.as_ref());
    let every = |keyring: Option<&Keyring>| keyring.map(all_ids).unwrap_or_default();
    let revision = |keyring: Option<&Keyring>| keyring.map_or(0, |one| one.revision);
    let (old, new) = (copy.keyring.as_ref(), known.as_ref());
    let newer = revision(new) > revision(old);
    let expected: BTreeSet<String> = if newer && every(old).is_subset(&every(new)) {
        world.seen.insert("restored over a newer memory");
        live_ids(new).union(&copied).cloned().collect()
    } else if !newer && every(new).is_subset(&every(old)) {
        copied
    } else {
        live_ids(new).intersection(&copied).cloned().collect()
    };
    let mut ledger = world.store.ledger();
    ledger.restored(old);
    ledger.only(&expected);
}

fn delete(world: &mut World) {
    world.damaged = None;
    world.store.put(None);
    for process in &world.processes {
        world.store.ledger().revived(process.remembers());
    }
    world.forgotten();
}

/// Somebody edits the record by hand.
fn hurt(world: &mut World, damage: Damage) {
    let Some(record) = world.undamaged() else {
        return;
    };
    let mut value = serde_json::to_value(record.as_ref()).expect("a record serializes");
    let fields = value.as_object_mut().expect("an object");
    match damage {
        Damage::Truncated => {}
        Damage::WithoutKeyring => {
            if fields.remove("keyring").is_none() {
                return; // there was none, and none is missed
            }
        }
        Damage::Newer => {
            fields.insert("format".to_owned(), 99.into());
        }
        Damage::OtherTenants => {
            fields.insert("tenant".to_owned(), "others/globex".into());
        }
    }
    let mut bytes = serde_json::to_vec(&value).expect("json");
    if matches!(damage, Damage::Truncated) {
        bytes.truncate(bytes.len() / 2);
    }
    world.store.put(Some(bytes.clone()));
    world.damaged = Some((record, bytes));
    let recorded = world.recorded();
    world.store.ledger().only(&recorded);
}

fn recreate(world: &mut World, noticed: bool) {
    if noticed {
        for process in &world.processes {
            process.ctx.forget(&tenant());
        }
    }
    let recorded = world.recorded();
    world.store.ledger().only(&recorded);
    world.create(noticed);
    world.wake();
}

fn erase(world: &mut World, pick: impl FnOnce(&Keyring) -> Option<String>) {
    let Some(id) = world
        .undamaged()
        .and_then(|record| pick(record.keyring.as_ref()?))
    else {
        return;
    };
    world.store.ledger().erasable.insert(id.clone());
    world.respec(|spec| {
        let ids = &mut spec.master_key.get_or_insert_default().erased_ids;
        if !ids.contains(&id) {
            ids.push(id);
        }
    });
}

/// People mend what only people can, and everything works again.
async fn settle(world: &mut World) {
    heal(world);
    alone(world);
    if world.processes.is_empty() {
        world.start().await;
    }
    if let Some((good, damage)) = world.damaged.take() {
        assert_eq!(world.store.bytes(), Some(damage), "damage was written over");
        let good = serde_json::to_vec(good.as_ref()).expect("a record serializes");
        world.store.put(Some(good));
        world.seen.insert("damage mended");
    }
    if world.is_foreign() {
        world.run(seconds(60)).await;
        let record = world.store.record().expect("it is foreign");
        world.seen.insert("foreign");
        if world.asked.is_multiple_of(2) {
            let namespace_uid = lock(&world.namespace).clone();
            let adopted = Record {
                namespace_uid,
                ..record.as_ref().clone()
            };
            let bytes = serde_json::to_vec(&adopted).expect("a record serializes");
            world.store.put(Some(bytes));
        } else {
            delete(world);
        }
    }
    world.respec(|spec| spec.suspend = None);
    world.ask("verify");
    for _ in 0..PATIENCE / 20 {
        world.run(seconds(20)).await;
        if world.processes[0].is_settled() {
            break;
        }
        name_its_key(world);
    }
    assert!(world.processes[0].is_settled(), "healthy and not active");
    // What is only remembered is written with the next change.
    world.ask("verify");
    world.run(seconds(12)).await;
    settled(world).await;
    world.sleep(HOUR).await;
    world.run(seconds(8)).await;
    settled(world).await;
    followed(world);
}

/// The key that wraps what is on record: no other works for a new object.
fn name_its_key(world: &mut World) {
    let keyring = world
        .store
        .record()
        .and_then(|record| record.keyring.clone());
    let kek = keyring.filter(|one| one.active().is_some());
    let key = kek.map_or_else(|| KEYS[0].to_owned(), |one| one.kek.key_id);
    if world.object.spec.kms_key_ref != key {
        world.respec(|spec| spec.kms_key_ref = key);
    }
}

/// Everything that was ever recorded opens, from the record alone.
async fn settled(world: &mut World) {
    let record = world.store.record().expect("active without a record");
    let keyring = record.keyring.clone().expect("active without a keyring");
    let recorded = live_ids(Some(&keyring));
    let live = world.store.ledger().live();
    assert_eq!(
        recorded, live,
        "what is on record, and what was ever active"
    );
    let spec = TenantKmsSpec::new(ProviderKind::Azure, keyring.kek.key_id.clone());
    let kms = Connector(world.cloud.clone());
    let kms = kms
        .connect(&tenant(), &spec, &Anchor::default(), true)
        .await;
    let kms = kms.expect("the key is there");
    for version in keyring.live() {
        let locked = keyring.locked(version).expect("live");
        let opened = wrapping::open(kms.as_ref(), &record.tenant_uid, &locked).await;
        opened.expect("a version does not open");
    }
    let ids = world.object.spec.erased_ids();
    let owed = keyring.erase(ids, world.now().timestamp()).changed;
    assert_eq!(owed, None, "not erased: {ids:?}");
    assert!(record.sealed.is_none(), "the record says sealed");
}

/// An hour later: what was asked for is done, under the newest version of the customer's key.
fn followed(world: &mut World) {
    let record = world.store.record().expect("active without a record");
    let keyring = record.keyring.as_ref().expect("active without a keyring");
    let newest = world.cloud.version(&keyring.kek.key_id);
    assert_eq!(Some(&keyring.kek.version), newest.as_ref(), "not rewrapped");
    let asked = world.object.metadata.annotations.as_ref();
    let asked = asked.and_then(|all| all.get("tenantkms.dev/rotate-requested-at"));
    let handled = record.handled.rotate_requested_at.as_ref();
    let created = keyring.active().expect("no active version").created;
    let age = world.now().timestamp().duration_since(created).as_secs();
    let young = age < 3_600; // the clock was set back
    assert!(asked.is_none() || asked == handled || young, "not rotated");
}
