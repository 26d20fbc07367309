//! When each tenant is looked at: one look at a time, at the earliest moment that was asked for. Pure.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use crate::provider::TenantId;

#[derive(Debug, Default)]
pub struct Schedule {
    /// Those that wait, in their order.
    waiting: BTreeSet<(Instant, TenantId)>,
    tenants: HashMap<TenantId, Row>,
}

#[derive(Debug, Default)]
struct Row {
    /// When it is to be looked at (again).
    at: Option<Instant>,
    /// It is being looked at.
    busy: bool,
}

impl Schedule {
    /// A look at `at`, or sooner where that was asked for.
    pub fn ask(&mut self, tenant: &TenantId, at: Instant) {
        let row = self.tenants.entry(tenant.clone()).or_default();
        if row.at.is_some_and(|known| known <= at) {
            return;
        }
        let before = row.at.replace(at);
        if row.busy {
            return; // it waits for the end of this look
        }
        if let Some(before) = before {
            self.waiting.remove(&(before, tenant.clone()));
        }
        self.waiting.insert((at, tenant.clone()));
    }

    /// When the next look is due.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// The tenant that is to be looked at now, if any. Its look ends with `done`.
    pub fn take(&mut self, now: Instant) -> Option<TenantId> {
        self.next().filter(|at| *at <= now)?;
        let (_, tenant) = self.waiting.pop_first()?;
        let row = Row {
            at: None,
            busy: true,
        };
        self.tenants.insert(tenant.clone(), row);
        Some(tenant)
    }

    /// The look is over; another one is due then, or when somebody asks.
    pub fn done(&mut self, tenant: &TenantId, again: Option<Instant>) {
        let asked = self.tenants.remove(tenant).and_then(|row| row.at);
        if let Some(at) = asked.into_iter().chain(again).min() {
            self.ask(tenant, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new("tenants", name)
    }

    /// Moments `seconds` after each other.
    fn clock() -> impl Fn(u64) -> Instant {
        let start = Instant::now();
        move |seconds| start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_earliest_wish_counts_and_each_is_looked_at_once() {
        let (mut schedule, at) = (Schedule::default(), clock());
        let (one, two) = (tenant("one"), tenant("two"));
        schedule.ask(&one, at(5));
        schedule.ask(&one, at(9));
        schedule.ask(&two, at(8));
        schedule.ask(&one, at(3));
        assert_eq!(schedule.next(), Some(at(3)));
        assert_eq!(schedule.take(at(2)), None);
        assert_eq!(schedule.take(at(9)), Some(one));
        assert_eq!(schedule.take(at(9)), Some(two));
        assert_eq!((schedule.take(at(9)), schedule.next()), (None, None));
    }

    #[test]
    fn what_is_asked_for_during_a_look_waits_for_its_end() {
        let (mut schedule, at) = (Schedule::default(), clock());
        let one = tenant("one");
        schedule.ask(&one, at(1));
        assert_eq!(schedule.take(at(1)).as_ref(), Some(&one));
        schedule.ask(&one, at(2));
        assert_eq!((schedule.take(at(9)), schedule.next()), (None, None));
        schedule.done(&one, Some(at(30)));
        assert_eq!(schedule.next(), Some(at(2)));
        assert_eq!(schedule.take(at(2)).as_ref(), Some(&one));
        schedule.done(&one, Some(at(30)));
        assert_eq!(schedule.next(), Some(at(30)));
    }

    #[test]
    fn nothing_is_kept_of_a_tenant_that_nobody_asks_for() {
        let (mut schedule, at) = (Schedule::default(), clock());
        let one = tenant("one");
        schedule.ask(&one, at(1));
        assert_eq!(schedule.take(at(1)).as_ref(), Some(&one));
        schedule.done(&one, None);
        assert!(schedule.tenants.is_empty() && schedule.waiting.is_empty());
    }
}
