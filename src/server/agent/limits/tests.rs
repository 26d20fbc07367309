//! Buckets under a clock moved by hand.

use serde_json::json;

use super::*;
use crate::clock::tests::Hand;
use crate::session::caller::tests::{answer, read};

struct Stage {
    clock: Arc<Hand>,
    policy: watch::Sender<Arc<Policy>>,
    limiter: Limiter,
    acme: TenantId,
}

fn policy(tenant: u32, caller: u32) -> Arc<Policy> {
    let head = "apiVersion: config.tenantkms.dev/v1alpha1\nkind: OperatorConfig\n";
    let limits = format!("limits: {{ agentTenantRps: {tenant}, agentCallerRps: {caller} }}\n");
    Arc::new(crate::policy::parse(&format!("{head}{limits}")).expect("valid"))
}

fn stage(tenant: u32, caller: u32) -> Stage {
    let clock = Arc::new(Hand::default());
    let (sender, receiver) = watch::channel(policy(tenant, caller));
    Stage {
        limiter: Limiter::new(receiver, clock.clone()),
        clock,
        policy: sender,
        acme: TenantId::new("tenants", "acme"),
    }
}

fn caller(uid: u32) -> Caller {
    let mut answer = answer();
    answer["user"]["uid"] = json!(uid.to_string());
    read(answer).expect("a caller")
}

impl Stage {
    /// How many of these calls pass at once.
    fn pass(&self, caller: &Caller, call: Call) -> u32 {
        let mut passed = 0;
        while self.limiter.take(&self.acme, caller, call).is_ok() {
            passed += 1;
            assert!(passed < 10_000, "without a limit");
        }
        passed
    }

    fn refused(&self, caller: &Caller, call: Call) -> (Whose, u64) {
        let refused = self.limiter.take(&self.acme, caller, call);
        let refused = refused.expect_err("exceeded");
        (refused.whose, refused.try_again_after.as_secs())
    }
}

#[test]
fn a_caller_has_its_own_limit_and_the_tenant_one_for_all() {
    let stage = stage(150, 100);
    let (one, other) = (caller(1), caller(2));
    assert_eq!(stage.pass(&one, Call::Data), 100);
    assert_eq!(stage.refused(&one, Call::Data), (Whose::Caller, 1));
    assert_eq!(stage.pass(&other, Call::Data), 50);
    assert_eq!(stage.refused(&other, Call::Data), (Whose::Tenant, 1));
    let globex = TenantId::new("tenants", "globex");
    assert!(stage.limiter.take(&globex, &one, Call::Session).is_ok());
    stage.clock.forward(Duration::from_millis(500));
    assert_eq!(stage.pass(&one, Call::Data), 50);
    assert_eq!(
        stage.pass(&other, Call::Data),
        25,
        "what the tenant had left"
    );
}

#[test]
fn sessions_cost_more() {
    let stage = stage(1_000, 100);
    assert_eq!(stage.pass(&caller(1), Call::Session), 10);
    assert_eq!(stage.pass(&caller(2), Call::Data), 100);
}

#[test]
fn what_costs_more_than_a_second_is_paid_for_afterwards() {
    let stage = stage(1_000, 4);
    let one = caller(1);
    assert_eq!(stage.pass(&one, Call::Session), 1);
    // 4 - 10 = -6: 1 is there after 1.75 s, 4 after 2.5 s.
    assert_eq!(stage.refused(&one, Call::Data), (Whose::Caller, 2));
    assert_eq!(stage.refused(&one, Call::Session), (Whose::Caller, 3));
    stage.clock.forward(Duration::from_secs(2));
    assert_eq!(stage.pass(&one, Call::Data), 2);
}

#[test]
fn a_batch_of_any_size_passes_at_any_rate_and_is_paid_for_afterwards() {
    let one = caller(1);
    for rate in 1..=100 {
        for (limits, whose) in [
            ((1_000, rate), Whose::Caller),
            ((rate, 1_000), Whose::Tenant),
        ] {
            let stage = stage(limits.0, limits.1);
            let take = |call| stage.limiter.take(&stage.acme, &one, call);
            take(Call::Data).expect("full");
            take(Call::More(99)).unwrap_or_else(|refused| panic!("at {rate}: {refused}"));
            // rate - 100, and one is needed.
            let (of, seconds) = stage.refused(&one, Call::Data);
            assert_eq!(
                (of, seconds),
                (whose, u64::from((101 - rate).div_ceil(rate)))
            );
        }
    }
}

#[test]
fn a_batch_passes_beside_other_calls_and_two_do_not_at_once() {
    let stage = stage(1_000, 8);
    let one = caller(1);
    let take = |call| stage.limiter.take(&stage.acme, &one, call);
    for _ in 0..4 {
        take(Call::Data).expect("enough"); // the others', and the first of two batches
    }
    take(Call::More(99)).expect("half is left");
    assert_eq!(stage.refused(&one, Call::More(99)), (Whose::Caller, 13));
    stage.clock.forward(Duration::from_secs(12));
    take(Call::Data).expect("1 of 1");
    assert_eq!(stage.refused(&one, Call::More(99)), (Whose::Caller, 1));
    stage.clock.forward(Duration::from_secs(1));
    take(Call::Data).expect("1 of 8");
    take(Call::More(99)).expect("7 are left");
}

#[test]
fn a_refusal_says_when_to_try_again_and_what_to_set() {
    let stage = stage(1_000, 10);
    let one = caller(1);
    stage.pass(&one, Call::Session);
    let refused = stage.limiter.take(&stage.acme, &one, Call::Session);
    let text = refused.expect_err("exceeded").to_string();
    assert!(
        text.contains("more than 10 operations per second"),
        "{text}"
    );
    assert!(text.contains("after 1 s"), "{text}");
    assert!(text.contains("limits.agentCallerRps"), "{text}");
}

#[test]
fn a_changed_configuration_holds_at_once() {
    let stage = stage(1_000, 10);
    let one = caller(1);
    assert_eq!(stage.pass(&one, Call::Data), 10);
    stage.policy.send_replace(policy(1_000, 30));
    stage.clock.forward(Duration::from_secs(1));
    assert_eq!(stage.pass(&one, Call::Data), 30);
    stage.policy.send_replace(policy(5, 30));
    stage.clock.forward(Duration::from_secs(1));
    assert_eq!(stage.pass(&one, Call::Data), 5);
}

#[test]
fn callers_and_tenants_without_end_take_bounded_memory() {
    let limits = policy(1_000, 10).limits();
    let clock = Hand::default();
    let mut shard = Shard::default();
    for i in 0..3 * u32::try_from(PER_SHARD).expect("small") {
        let tenant = TenantId::new("tenants", (i % 3_000).to_string());
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&i.to_be_bytes());
        let taken = shard.take(&tenant, digest, Call::Session, limits, clock.now());
        taken.expect("within the limit");
        let kept: usize = shard.tenants.values().map(|used| used.callers.len()).sum();
        assert_eq!(kept, shard.callers);
        assert!(kept <= PER_SHARD && shard.tenants.len() <= PER_SHARD, "{i}");
    }
}

#[test]
fn who_still_owes_is_remembered_when_full_ones_are_forgotten() {
    let limits = policy(100_000, 10).limits();
    let clock = Hand::default();
    let mut shard = Shard::default();
    let acme = TenantId::new("tenants", "acme");
    let debtor = [255; 32];
    for i in 0..u32::try_from(PER_SHARD).expect("small") - 1 {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&i.to_be_bytes());
        let taken = shard.take(&acme, digest, Call::Data, limits, clock.now());
        taken.expect("within the limit");
    }
    clock.forward(Duration::from_secs(1));
    let taken = shard.take(&acme, debtor, Call::More(100), limits, clock.now());
    taken.expect("paid for afterwards");
    shard
        .take(&acme, [254; 32], Call::Data, limits, clock.now())
        .expect("made room");
    assert_eq!(shard.callers, 2);
    let refused = shard.take(&acme, debtor, Call::Data, limits, clock.now());
    assert!(refused.is_err());
}
