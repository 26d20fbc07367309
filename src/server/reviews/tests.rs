//! Against a reviewer that answers, hangs and fails, with a clock moved by hand.

mod floods;
mod stage;

use std::net::Ipv4Addr;

use futures::FutureExt;
use futures::future::join_all;
use serde_json::json;

use super::*;
use crate::session::caller::tests::{answer, read};
use jwt::tests::token;
use stage::{Mood, Stage};

const fn unauthenticated(why: Why) -> Refusal {
    Refusal::Unauthenticated { why }
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// 10,000 s after the beginning.
const LATE: &str = r#"{"exp":11000}"#;

#[tokio::test(start_paused = true)]
async fn a_caller_is_remembered_up_to_five_minutes() {
    let stage = Stage::new(Mood::Yes);
    let token = token(LATE);
    let caller = stage.reviews.caller(PEER, &token).await.expect("a caller");
    assert_eq!(caller.service_account().name, "backend");
    stage.mood(Mood::No);
    stage.seconds(179);
    let remembered = stage.reviews.caller(PEER, &token).now_or_never();
    assert!(Arc::ptr_eq(
        &remembered.expect("at once").expect("yes"),
        &caller
    ));
    assert_eq!(stage.asked(), 1);
    stage.seconds(61);
    let refused = stage.reviews.caller(PEER, &token).await;
    assert_eq!(refused, Err(unauthenticated(Why::Rejected)), "asked again");
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_remembered_never_past_its_token() {
    for (claims, seconds) in [(r#"{"exp":1100}"#, 100), ("{}", 10)] {
        let stage = Stage::new(Mood::Yes);
        let token = token(claims);
        stage.reviews.caller(PEER, &token).await.expect("a caller");
        stage.mood(Mood::Fail(503));
        stage.seconds(seconds - 1);
        stage
            .reviews
            .caller(PEER, &token)
            .await
            .expect("remembered");
        assert_eq!(stage.asked(), 1);
        stage.seconds(1);
        let refused = stage.reviews.caller(PEER, &token).await;
        assert_eq!(refused, Err(Refusal::Unavailable), "{claims}");
    }
    let stage = Stage::new(Mood::Yes);
    for asked in 1..3 {
        let past = token(r#"{"exp":1000}"#);
        stage
            .reviews
            .caller(PEER, &past)
            .await
            .expect("the server's word");
        assert_eq!(stage.asked(), asked, "and not remembered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_none_is_remembered_ten_seconds() {
    let stage = Stage::new(Mood::No);
    let (good, other) = (token(LATE), token("{}"));
    let refused = Err(unauthenticated(Why::Rejected));
    assert_eq!(stage.reviews.caller(PEER, &good).await, refused);
    stage.mood(Mood::Yes);
    stage.seconds(9);
    assert_eq!(stage.reviews.caller(PEER, &good).await, refused);
    assert!(
        stage.reviews.caller(PEER, &other).await.is_ok(),
        "not another"
    );
    stage.seconds(1);
    assert!(stage.reviews.caller(PEER, &good).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_token_never_reaches_the_api_server() {
    let stage = Stage::new(Mood::Yes);
    let long = "x".repeat(1 << 20);
    for wrong in ["", "hunter2", "a.b", "a.b.c", &long] {
        let refused = stage.reviews.caller(PEER, wrong).now_or_never();
        assert_eq!(refused, Some(Err(unauthenticated(Why::Malformed))));
    }
    let nobody = TenantId::new("tenants", "a/../b");
    let refused = stage.reviews.may(&stage.caller, &nobody, Right::Session);
    let message = refused.await.expect_err("refused").to_string();
    assert!(!message.contains(".."), "{message}");
    assert_eq!(stage.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_allow_is_remembered_thirty_seconds_and_a_deny_ten() {
    let stage = Stage::new(Mood::Yes);
    assert_eq!(stage.may().await, Ok(()));
    stage.mood(Mood::No);
    stage.seconds(19);
    assert_eq!(stage.may_now(), Some(Ok(())));
    assert_eq!(stage.asked(), 1);
    stage.seconds(11);
    assert_eq!(
        stage.may().await,
        stage.forbidden(),
        "the Role was taken away"
    );
    // An outage does not bring back what was allowed before the no.
    stage.mood(Mood::Fail(503));
    stage.seconds(9);
    assert_eq!(stage.may_now(), Some(stage.forbidden()));
    stage.seconds(1);
    assert_eq!(stage.may().await, Err(Refusal::Unavailable));
    stage.mood(Mood::Yes);
    stage.seconds(4);
    assert_eq!(stage.may().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn who_calls_all_the_time_waits_for_no_review_and_hears_of_a_no_before_thirty_seconds() {
    let stage = Stage::new(Mood::Yes);
    assert_eq!(stage.may().await, Ok(()));
    for second in 1..=100 {
        stage.seconds(1);
        assert_eq!(stage.may_now(), Some(Ok(())), "{second}");
        settled().await;
    }
    let asked = stage.asked();
    assert!((4..=5).contains(&asked), "each 20 to 25 s: {asked}");
    stage.mood(Mood::No);
    let mut served = 0;
    while stage.may_now() == Some(Ok(())) {
        stage.seconds(1);
        settled().await;
        served += 1;
    }
    assert!(served <= 26, "{served} s");
    assert_eq!(stage.may_now(), Some(stage.forbidden()));
}

/// Reviews that nobody waits for have had their turn.
async fn settled() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_caller_tenant_and_right_is_reviewed_as_it_is() {
    let stage = Stage::new(Mood::Yes);
    let mut again = answer();
    again["user"]["uid"] = json!("another");
    let again = Arc::new(read(again).expect("a caller"));
    let globex = TenantId::new("tenants", "globex");
    for (asked, (caller, tenant, right)) in [
        (&stage.caller, &stage.acme, Right::Session),
        (&stage.caller, &stage.acme, Right::DataKey),
        (&stage.caller, &globex, Right::Session),
        (&again, &stage.acme, Right::Session),
    ]
    .into_iter()
    .enumerate()
    {
        for _ in 0..2 {
            assert_eq!(stage.reviews.may(caller, tenant, right).await, Ok(()));
        }
        assert_eq!(stage.asked(), asked + 1);
    }
    let questions = stage.api.questions.lock().expect("lock");
    let question = serde_json::to_value(&questions[1]).expect("JSON");
    let user = answer()["user"].clone();
    assert_eq!(
        question,
        json!({
            "user": user["username"], "uid": user["uid"], "groups": user["groups"],
            "extra": user["extra"],
            "resourceAttributes": {
                "namespace": "tenants", "name": "acme", "verb": "create",
                "group": "tenantkms.dev", "version": "v1alpha1", "resource": "tenantkmses",
                "subresource": "datakey",
            },
        })
    );
}

#[tokio::test(start_paused = true)]
async fn an_allow_holds_five_minutes_while_there_is_no_answer() {
    for outage in [Mood::Hang, Mood::Fail(500), Mood::Fail(429), Mood::Doubt] {
        let stage = Stage::new(Mood::Yes);
        assert_eq!(stage.may().await, Ok(()));
        stage.mood(outage);
        stage.seconds(30);
        assert_eq!(stage.may().await, Ok(()), "{outage:?}");
        assert_eq!(stage.asked(), 2);
        stage.seconds(1);
        assert_eq!(stage.may_now(), Some(Ok(())), "nobody waits: {outage:?}");
        assert_eq!(stage.asked(), 2, "and nobody asks");
        stage.seconds(3);
        assert_eq!(stage.may_now(), Some(Ok(())), "{outage:?}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(stage.asked(), 3, "the next try is made meanwhile");
        stage.seconds(299 - 34);
        assert_eq!(stage.may().await, Ok(()), "{outage:?}");
        stage.seconds(1);
        assert_eq!(stage.may().await, Err(Refusal::Unavailable), "{outage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_next_answer_counts() {
    let stage = Stage::new(Mood::Yes);
    assert_eq!(stage.may().await, Ok(()));
    stage.mood(Mood::Fail(503));
    stage.seconds(30);
    assert_eq!(stage.may().await, Ok(()));
    stage.mood(Mood::No);
    stage.seconds(10);
    assert_eq!(stage.may().await, stage.forbidden());
}

#[tokio::test(start_paused = true)]
async fn who_was_never_allowed_is_not_while_there_is_no_answer() {
    for outage in [Mood::Hang, Mood::Fail(403), Mood::Doubt] {
        let stage = Stage::new(outage);
        let since = tokio::time::Instant::now();
        assert_eq!(stage.may().await, Err(Refusal::Unavailable));
        assert!(since.elapsed() <= Duration::from_secs(3));
        stage.seconds(1);
        assert_eq!(stage.may_now(), Some(Err(Refusal::Unavailable)));
        assert_eq!(stage.asked(), 1);
        stage.mood(Mood::Yes);
        stage.seconds(3);
        assert_eq!(stage.may().await, Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_stays_one_until_five_minutes_while_there_is_no_answer() {
    let stage = Stage::new(Mood::Yes);
    let token = token(LATE);
    stage.reviews.caller(PEER, &token).await.expect("a caller");
    stage.mood(Mood::Hang);
    stage.seconds(299);
    stage
        .reviews
        .caller(PEER, &token)
        .await
        .expect("remembered");
    stage.seconds(1);
    let refused = stage.reviews.caller(PEER, &token).await;
    assert_eq!(refused, Err(Refusal::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_makes_what_is_remembered_worthless() {
    let stage = Stage::new(Mood::Yes);
    let token = token(LATE);
    stage.reviews.caller(PEER, &token).await.expect("a caller");
    assert_eq!(stage.may().await, Ok(()));
    stage.mood(Mood::Fail(503));
    stage.clock.set_forward(Duration::from_secs(6));
    assert_eq!(stage.may().await, Err(Refusal::Unavailable));
    let refused = stage.reviews.caller(PEER, &token).await;
    assert_eq!(refused, Err(Refusal::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_the_same_are_one_question_that_outlives_them() {
    let stage = Stage::new(Mood::Gate);
    let mut impatient = Box::pin(stage.may());
    assert_eq!((&mut impatient).now_or_never(), None);
    drop(impatient);
    let more = 10;
    let many = join_all((0..memo::WAITING + more).map(|_| stage.may()));
    let open = async {
        while stage.asked() == 0 {
            tokio::task::yield_now().await;
        }
        stage.api.gate.add_permits(1);
    };
    let (answers, ()) = tokio::join!(many, open);
    let busy = Err(Refusal::Busy);
    let refused = answers.iter().filter(|answer| **answer == busy).count();
    assert_eq!(refused, more, "so many do not even wait");
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!((served, stage.asked()), (memo::WAITING, 1));
}
