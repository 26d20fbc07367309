use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

/// An authority made at this time.
fn made(name: &str, seconds: i64) -> Authority {
    Authority {
        certificate: format!("{name}\n"),
        key: Some(format!("key of {name}").into()),
        validity: Validity {
            from: at(seconds - 600),
            until: at(seconds + YEAR),
        },
        published: None,
    }
}

fn told(mut one: Authority, seconds: i64) -> Authority {
    one.published = Some(at(seconds));
    one
}

fn issuer(plan: &Plan) -> Option<&str> {
    plan.issuer().map(|one| one.certificate.trim_end())
}

#[test]
fn without_one_an_authority_is_made() {
    let empty = plan(&[], at(0));
    assert!(empty.make && empty.changed && issuer(&empty).is_none());
    let ended = plan(&[made("a", 0)], at(YEAR));
    assert!(ended.make && ended.authorities.is_empty());
}

/// Nobody knows another, so waiting would help nobody.
#[test]
fn the_first_one_issues_at_once_and_nothing_else_is_due() {
    let first = [made("a", 0)];
    let now = plan(&first, at(0));
    assert!(!now.changed && issuer(&now) == Some("a"));
    assert_eq!(now.bundle(), "a\n");
    assert_eq!(now.authorities, first);
}

#[test]
fn at_half_of_its_life_the_next_one_is_made() {
    let first = [told(made("a", 0), 0)];
    let half = (YEAR - 600) / 2;
    let before = plan(&first, at(half - 1));
    assert!(!before.make);
    assert_eq!(before.holds, SignedDuration::from_secs(1));
    assert!(plan(&first, at(half)).make);
}

#[test]
fn the_next_one_issues_a_day_after_it_was_published() {
    let half = YEAR / 2;
    let unknown = [made("b", half), told(made("a", 0), 0)];
    let both = plan(&unknown, at(half + 3 * DAY));
    assert_eq!((issuer(&both), both.changed), (Some("a"), false));
    assert_eq!(both.bundle(), "b\na\n");

    let known = published(&unknown, at(half));
    assert_eq!(known[1].published, Some(at(0)));
    let waits = plan(&known, at(half + DAY - 1));
    assert_eq!((issuer(&waits), waits.changed), (Some("a"), false));
    assert_eq!(waits.holds, SignedDuration::from_secs(1));

    let over = plan(&known, at(half + DAY));
    assert_eq!(issuer(&over), Some("b"));
    // The former can issue no more, and is believed until its end.
    assert!(over.changed && over.authorities[0].key.is_some() && over.authorities[1].key.is_none());
    assert_eq!(over.bundle(), "b\na\n");
    let still = plan(&over.authorities, at(YEAR - HOUR));
    assert_eq!((still.bundle().as_str(), still.make), ("b\na\n", false));
    assert_eq!(plan(&over.authorities, at(YEAR)).bundle(), "b\n");
}

/// A namespace that cannot be written must not end with no valid certificate at all.
#[test]
fn an_authority_at_its_end_gives_way_also_to_an_unpublished_one() {
    let both = [made("b", YEAR / 2), told(made("a", 0), 0)];
    let last = YEAR - 30 * DAY;
    assert_eq!(issuer(&plan(&both, at(last - 1))), Some("a"));
    assert_eq!(issuer(&plan(&both, at(last))), Some("b"));
}

#[test]
fn a_certificate_is_renewed_at_two_thirds_or_when_the_clock_was_set_back() {
    let leaf = Validity {
        from: at(0),
        until: at(9 * HOUR),
    };
    for (seconds, due) in [
        (0, false),
        (6 * HOUR - 1, false),
        (6 * HOUR, true),
        (-1, true),
    ] {
        assert_eq!(renewable(leaf, at(seconds)), due, "{seconds}");
    }
}

/// A step of the time, and whether the holder can publish then.
fn steps() -> impl Strategy<Value = Vec<(i64, bool)>> {
    let step = prop_oneof![1..HOUR, 1..DAY, 1..20 * DAY];
    prop::collection::vec((step, prop::bool::weighted(0.7)), 1..200)
}

proptest! {
    /// Whatever the time between rounds: once there is an authority there is always one that
    /// issues, at most two keys are kept, one round does all that is due, and a client that mounts what
    /// was published a day ago accepts the certificate; but for one that had to take over at the end
    /// of its predecessor.
    #[test]
    fn clients_that_lag_a_day_accept_every_certificate(steps in steps()) {
        let mut stored: Vec<Authority> = Vec::new();
        let mut seen: Vec<(i64, String)> = Vec::new(); // what was published, and when
        let (mut now, mut count) = (0, 0);
        let (mut before, mut hurried): (Option<Authority>, String) = (None, String::new());
        for (step, publishes) in steps {
            now += step;
            let next = plan(&stored, at(now));
            stored.clone_from(&next.authorities);
            if next.make {
                count += 1;
                stored.insert(0, made(&format!("ca{count}"), now));
            }
            let done = plan(&stored, at(now));
            prop_assert!(!done.changed, "one round is enough");
            prop_assert!(done.holds.is_positive());
            if publishes {
                stored = published(&stored, at(now));
                seen.push((now, done.bundle()));
            }
            let issues = issuer(&done).expect("somebody issues");
            let own = done.issuer().expect("it");
            prop_assert!(own.key.is_some() && at(now) < own.validity.until);
            prop_assert!(done.authorities.iter().all(|one| at(now) < one.validity.until));
            prop_assert!(stored.iter().filter(|one| one.key.is_some()).count() <= 2);
            prop_assert!(stored.len() <= 3);
            let lag = seen.iter().rfind(|(when, _)| *when <= now - DAY);
            if let Some(before) = before.filter(|one| one.certificate != own.certificate)
                && before.validity.until.duration_since(at(now)) <= LAST
            {
                issues.clone_into(&mut hurried);
            }
            before = Some(own.clone());
            if let Some((_, bundle)) = lag && issues != hurried {
                prop_assert!(bundle.lines().any(|line| line == issues), "{issues} not in {bundle:?}");
            }
        }
    }
}
