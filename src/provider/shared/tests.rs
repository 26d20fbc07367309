//! Who waits for whom, by a clock moved by hand and a fetch that ends when it is told to.

use futures::FutureExt;
use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::api::Reason;
use crate::clock::tests::Hand;
use crate::provider::Kind;

const HOUR: Duration = Duration::from_hours(1);

/// How a fetch ends; `None` is not at all.
type End = Option<Result<Duration, &'static str>>;

#[derive(Clone)]
struct Stage {
    shared: Shared<u32>,
    clock: Arc<Hand>,
    begun: watch::Sender<u32>,
    end: watch::Sender<End>,
}

fn failure(message: &str) -> Failure {
    Failure::transient(Reason::IdentityUnavailable, message)
}

impl Stage {
    fn new() -> Self {
        let clock = Arc::new(Hand::default());
        Self {
            shared: Shared::new(clock.clone()),
            clock,
            begun: watch::Sender::new(0),
            end: watch::Sender::new(Some(Ok(HOUR))),
        }
    }

    /// What was fetched for the first, second… time is 1, 2…
    async fn get(&self, since: Option<Moment>) -> Result<u32, Failure> {
        let fetch = || {
            let (begun, mut end) = (self.begun.clone(), self.end.subscribe());
            async move {
                begun.send_modify(|begun| *begun += 1);
                let number = *begun.borrow();
                let end = end.wait_for(Option::is_some).await.expect("a test");
                match end.expect("an end") {
                    Ok(life) => Ok((number, life)),
                    Err(message) => Err(failure(message)),
                }
            }
        };
        self.shared.get(since, fetch, || failure("late")).await
    }

    /// What somebody gets who does not wait.
    fn at_once(&self, since: Option<Moment>) -> Option<u32> {
        let got = self.get(since).now_or_never()?;
        Some(got.expect("a value"))
    }

    /// One as fresh as can be.
    async fn fresh(&self) -> Result<u32, Failure> {
        self.get(Some(self.shared.now())).await
    }

    /// Somebody who waits for a fresh one.
    fn waiting(&self) -> JoinHandle<Result<u32, Failure>> {
        let stage = self.clone();
        tokio::spawn(async move { stage.fresh().await })
    }

    fn begun(&self) -> u32 {
        *self.begun.borrow()
    }

    async fn until_begun(&self, number: u32) {
        let mut begun = self.begun.subscribe();
        let begun = begun.wait_for(|begun| *begun >= number).await;
        begun.expect("a test");
    }

    /// On the hand's clock and the timers'.
    async fn pass(&self, by: Duration) {
        self.clock.forward(by);
        sleep(by).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_wait_for_one_fetch_and_share_its_end() {
    let stage = Stage::new();
    let all = async || join_all((0..1_000).map(|_| stage.fresh())).await;
    assert!(all().await.iter().all(|got| got == &Ok(1)));
    assert!(all().await.iter().all(|got| got == &Ok(1)), "it is fresh");
    assert_eq!(stage.begun(), 1);
    stage.pass(FRESH).await;
    stage.end.send_replace(Some(Err("refused")));
    let refused = Err(failure("refused"));
    assert!(all().await.iter().all(|got| got == &refused));
    assert_eq!(stage.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_may_use_what_is_held_waits_for_nobody() {
    let stage = Stage::new();
    stage.get(None).await.expect("the first");
    stage.pass(FRESH).await;
    stage.end.send_replace(None);
    let denied = stage.waiting();
    stage.until_begun(2).await;
    assert_eq!(stage.at_once(None), Some(1));
    stage.end.send_replace(Some(Ok(HOUR)));
    assert_eq!(denied.await.expect("a task"), Ok(2));
    assert_eq!(stage.at_once(None), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_one_stays_fresh_for_who_asked_for_it() {
    let stage = Stage::new();
    stage.get(None).await.expect("the first");
    let early = Some(stage.shared.now());
    stage.pass(Duration::from_millis(9_999)).await;
    let denied = Some(stage.shared.now());
    assert_eq!(stage.get(denied).await, Ok(1), "the last seconds' will do");
    stage.pass(Duration::from_millis(1)).await;
    let denied = Some(stage.shared.now());
    assert_eq!(stage.get(denied).await, Ok(2));
    stage.pass(2 * FRESH).await;
    for since in [early, denied, None] {
        assert_eq!(stage.get(since).await, Ok(2));
    }
    assert_eq!(stage.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_with_who_began_it() {
    let stage = Stage::new();
    stage.end.send_replace(None);
    let first = stage.waiting();
    stage.until_begun(1).await;
    let second = stage.waiting();
    first.abort();
    assert!(first.await.is_err(), "gone");
    stage.end.send_replace(Some(Ok(HOUR)));
    assert_eq!(second.await.expect("a task"), Ok(1));

    stage.pass(FRESH).await;
    stage.end.send_replace(None);
    let only = stage.waiting();
    stage.until_begun(2).await;
    only.abort();
    assert!(only.await.is_err(), "gone");
    stage.end.send_replace(Some(Ok(HOUR)));
    assert_eq!(stage.fresh().await, Ok(2));
    assert_eq!(stage.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_ends_in_time_and_the_next_is_not_at_once() {
    let stage = Stage::new();
    stage.end.send_replace(None);
    let begun = Instant::now();
    let (first, second) = (stage.waiting(), stage.waiting());
    assert_eq!(first.await.expect("a task"), Err(failure("late")));
    assert_eq!(second.await.expect("a task"), Err(failure("late")));
    assert_eq!(begun.elapsed().as_secs(), DEADLINE.as_secs());
    // Nobody is told an old answer: who comes at once waits for the next one.
    stage.end.send_replace(Some(Ok(HOUR)));
    let again = Instant::now();
    assert_eq!(stage.get(None).await, Ok(2));
    assert_eq!(again.elapsed().as_secs(), PAUSE.as_secs());

    stage.pass(LONGEST).await;
    let later = Instant::now();
    assert_eq!(stage.get(None).await, Ok(3));
    assert!(later.elapsed() < PAUSE, "the last one is long ago");
}

#[tokio::test(start_paused = true)]
async fn the_next_one_is_fetched_before_the_end_and_a_failure_takes_nothing_away() {
    let stage = Stage::new();
    stage.get(None).await.expect("the first");
    stage.pass(Duration::from_millis(49_999)).await;
    assert_eq!(stage.at_once(None), Some(1));
    stage.pass(Duration::from_millis(5_001)).await;
    assert_eq!(stage.begun(), 1, "not before, and not unless it is used");
    stage.end.send_replace(Some(Err("refused")));
    assert_eq!(stage.at_once(None), Some(1));
    assert_eq!(stage.fresh().await, Err(failure("refused")));
    stage.end.send_replace(None);
    stage.pass(PAUSE).await;
    for _ in 0..2 {
        assert_eq!(stage.at_once(None), Some(1), "nobody waits");
    }
    stage.end.send_replace(Some(Ok(HOUR)));
    assert_eq!(stage.fresh().await, Ok(3));
    assert_eq!(stage.at_once(None), Some(3));
    assert_eq!(stage.begun(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_gone_is_waited_for_by_nobody() {
    let stage = Stage::new();
    let lost = || async { panic!("a fetch that panics") };
    let lost = stage.shared.get(None, lost, || failure("late")).await;
    assert_eq!(lost.map_err(|why| why.kind), Err(Kind::Transient));
    assert_eq!(stage.get(None).await, Ok(1));
}

#[test]
fn a_value_ends_with_its_life_or_after_a_minute_and_is_due_a_little_before() {
    let at = Hand::default().now();
    let after = |seconds| at.after(Duration::from_secs(seconds));
    let held = |life, jitter| Held::new((), at, Duration::from_secs(life), jitter);
    for (life, ends) in [(3_600, 60), (60, 60), (30, 30), (0, 0)] {
        let held = held(life, 0.0);
        assert!(!held.is_usable(after(ends), None), "{life}");
        assert!(ends == 0 || held.is_usable(after(ends - 1), None), "{life}");
    }
    for (life, jitter, due) in [
        (3_600, 0.0, 55),
        (3_600, 1.0, 50),
        (30, 0.0, 25),
        (1, 0.0, 10),
    ] {
        let held = held(life, jitter);
        assert!(held.is_due(after(due)), "{life}");
        assert!(!held.is_due(after(due - 1)), "{life}");
    }
    let set = Moment {
        wall: at.wall + Duration::from_secs(10),
        ..at
    };
    assert!(!held(3_600, 0.0).is_usable(set, None), "the clock was set");
}
