//! Those who ask more than there is room for: who is refused, and who is not.

use std::sync::atomic::Ordering;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_flood_is_refused_in_bounded_time_and_delays_no_access_review() {
    let stage = Stage::new(Mood::Hang);
    let since = tokio::time::Instant::now();
    // More than the queue takes, of more addresses than may fill it.
    let flood = (0..1_000_u16).map(|i| {
        let token = token(&format!(r#"{{"jti":{i}}}"#));
        let peer = IpAddr::from([10, 0, 1, u8::try_from(i % 25).expect("a byte")]);
        let reviews = &stage.reviews;
        async move { (reviews.caller(peer, &token).await, since.elapsed()) }
    });
    let mut flood = Box::pin(join_all(flood));
    assert!((&mut flood).now_or_never().is_none());
    tokio::task::yield_now().await;
    stage.mood(Mood::Yes);
    assert_eq!(stage.may().await, Ok(()));
    assert!(since.elapsed() < Duration::from_millis(10));
    let refused = flood.await;
    assert!(since.elapsed() <= Duration::from_secs(3));
    let count = |expected: Refusal| {
        let same = |(one, _): &&(Result<_, Refusal>, _)| *one == Err(expected.clone());
        refused.iter().filter(same).count()
    };
    let counts = (count(Refusal::Unavailable), count(Refusal::Busy));
    assert_eq!(counts, (memo::IN_FLIGHT, 1_000 - memo::IN_FLIGHT));
    let at_once = refused.iter().filter(|(_, took)| took.is_zero()).count();
    assert_eq!(
        at_once,
        1_000 - memo::QUEUE,
        "the others wait for their turn"
    );
    assert_eq!(stage.api.most.load(Ordering::SeqCst), memo::IN_FLIGHT + 1);
}

#[tokio::test(start_paused = true)]
async fn one_address_cannot_keep_the_tokens_of_another_from_review() {
    let stage = Stage::new(Mood::Gate);
    let flood = (0..1_000).map(|i| {
        let token = token(&format!(r#"{{"jti":{i}}}"#));
        let reviews = &stage.reviews;
        async move { reviews.caller(PEER, &token).await }
    });
    let mut flood = Box::pin(join_all(flood));
    assert!((&mut flood).now_or_never().is_none());
    let other = IpAddr::from([10, 0, 0, 2]);
    let token = token(LATE);
    let mut served = Box::pin(stage.reviews.caller(other, &token));
    assert!((&mut served).now_or_never().is_none(), "it has a place");
    stage.api.gate.add_permits(OF_PEER + 1);
    let (flood, served) = tokio::join!(flood, served);
    assert!(served.is_ok());
    let reviewed = flood.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(reviewed, OF_PEER);
}

/// Asks for a lot of tenants as a caller that may use none of them.
async fn flood(stage: &Stage, caller: &Arc<Caller>) -> usize {
    let all = (0..1_000).map(|i| async move {
        let tenant = TenantId::new("tenants", format!("other-{i}"));
        stage.reviews.may(caller, &tenant, Right::Session).await
    });
    let answers = join_all(all).await;
    let busy = |answer: &&Result<_, _>| **answer == Err(Refusal::Busy);
    answers.iter().filter(busy).count()
}

#[tokio::test(start_paused = true)]
async fn who_floods_the_reviews_keeps_no_role_that_was_taken_away() {
    let stage = Stage::new(Mood::Yes);
    assert_eq!(stage.may().await, Ok(()));
    stage.seconds(19);
    stage.mood(Mood::Hang);
    let mut flood = Box::pin(flood(&stage, &stage.caller));
    assert!((&mut flood).now_or_never().is_none());
    stage.seconds(15);
    assert_eq!(stage.may_now(), Some(Ok(())), "for a while");
    stage.seconds(1);
    assert_eq!(stage.may_now(), Some(Err(Refusal::Busy)), "35 s at most");
    assert_eq!(flood.await, 1_000 - memo::IN_FLIGHT);
}

#[tokio::test(start_paused = true)]
async fn who_floods_the_reviews_is_busy_for_itself_alone() {
    let stage = Stage::new(Mood::Gate);
    let mut flood = Box::pin(flood(&stage, &stage.caller));
    assert!((&mut flood).now_or_never().is_none());
    assert_eq!(stage.may_now(), Some(Err(Refusal::Busy)));
    let mut other = answer();
    other["user"]["username"] = json!("system:serviceaccount:tenants:other");
    let other = Arc::new(read(other).expect("a caller"));
    let may = stage.reviews.may(&other, &stage.acme, Right::Session);
    let mut may = Box::pin(may);
    assert!((&mut may).now_or_never().is_none(), "it has a place");
    stage.api.gate.add_permits(OF_ACCOUNT + 1);
    let (busy, may) = tokio::join!(flood, may);
    assert_eq!((busy, may), (1_000 - OF_ACCOUNT, Ok(())));
    assert_eq!(
        stage.asked(),
        OF_ACCOUNT + 1,
        "and the places are free again"
    );
    stage.mood(Mood::Yes);
    assert_eq!(stage.may().await, Ok(()));
}
