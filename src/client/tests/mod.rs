//! The client against a strict loopback operator over TLS. Time is moved by hand.

mod refusals;
mod server;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Semaphore;

use super::{Category, Item, Kind};
use server::{Reply, Server, advance, eventually};

const ACME: &str = "tenants/acme";
/// 80 % of five minutes, and the jitter to both sides.
const RENEWAL: Duration = Duration::from_mins(4);
const JITTER: Duration = Duration::from_secs(12);
const SOONEST: Duration = Duration::from_secs(240 - 12);
/// What may pass besides by itself.
const SLACK: Duration = Duration::from_secs(10);

#[tokio::test]
async fn every_operation_with_its_additional_data_by_one_session() {
    let server = Server::start().await;
    let client = server.client();
    let large = vec![b'x'; 512 * 1024];
    for (plaintext, aad) in [
        (&b"a record"[..], &b"orders/1"[..]),
        (b"", b""),
        (&large, b""),
    ] {
        let sealed = client.encrypt(ACME, plaintext, aad).await.expect("encrypt");
        assert_eq!(sealed.key_id, "k1");
        let opened = client.decrypt(ACME, &sealed.bytes, aad).await;
        assert!(**opened.expect("decrypt") == *plaintext);
    }
    let key = client.data_key(ACME, b"file").await.expect("data key");
    assert_eq!(key.expose(), Some(&[7; 32][..]));
    let opened = client.decrypt(ACME, &key.ciphertext().bytes, b"file").await;
    assert_eq!(**opened.expect("decrypt"), [7; 32]);

    let (good, bad) = (key.ciphertext().bytes.clone(), Vec::new());
    let items = [&good, &bad, &good].map(|ciphertext| Item {
        ciphertext,
        aad: b"file",
    });
    let again = client.rewrap(ACME, &items).await.expect("rewrap");
    let ids = again.iter().map(|one| one.as_ref().map(|one| &*one.key_id));
    let ids: Vec<_> = ids.map(|one| one.map_err(super::Error::kind)).collect();
    assert_eq!(ids, [Ok("k2"), Err(Kind::CiphertextInvalid), Ok("k2")]);
    assert_eq!(server.seen("session").len(), 1);
}

#[tokio::test]
async fn a_used_session_is_renewed_at_four_fifths_and_nobody_waits_for_it() {
    let server = Server::start().await;
    let client = server.client();
    client.encrypt(ACME, b"a", b"").await.expect("encrypt");
    advance(SOONEST.saturating_sub(SLACK)).await;
    client.encrypt(ACME, b"a", b"").await.expect("encrypt");
    assert_eq!(server.seen("session").len(), 1, "too early");

    let gate = Arc::new(Semaphore::new(0));
    server.reply("session", Reply::Held(gate.clone()));
    advance(SLACK + 2 * JITTER).await;
    eventually("renewed unasked", || server.seen("session").len() == 2).await;
    client
        .encrypt(ACME, b"a", b"")
        .await
        .expect("by the old one");
    gate.add_permits(1);
    let second = || {
        let last = server.seen("encrypt").pop().expect("seen");
        last.session.as_deref() == Some("tks1_hunter2-2")
    };
    while !second() {
        client.encrypt(ACME, b"a", b"").await.expect("encrypt");
    }
    assert_eq!(server.seen("session").len(), 2);
}

#[tokio::test]
async fn what_opened_its_session_together_does_not_renew_it_together() {
    let server = Server::start().await;
    let renewal = async || {
        let asked = server.client().0.of(ACME).ask().await;
        let (_, renewal) = asked.expect("a session");
        assert!(renewal.abs_diff(RENEWAL) <= JITTER, "{renewal:?}");
        renewal
    };
    assert_ne!(renewal().await, renewal().await);
}

#[tokio::test]
async fn a_session_that_nobody_uses_is_not_renewed_until_somebody_does() {
    let server = Server::start().await;
    let client = server.client();
    client.encrypt(ACME, b"a", b"").await.expect("encrypt");
    advance(RENEWAL + JITTER).await;
    let held = |number: &str| {
        let held = client.0.of(ACME).live();
        held.is_some_and(|session| session.token().ends_with(number))
    };
    eventually("renewed after its use", || held("-2")).await;

    advance(RENEWAL + JITTER).await;
    let other = server.client();
    other.encrypt(ACME, b"b", b"").await.expect("encrypt");
    assert_eq!(server.seen("session").len(), 3, "one of the other client's");
    assert!(held("-2"));

    client.encrypt(ACME, b"a", b"").await.expect("encrypt");
    eventually("renewed with its use", || held("-4")).await;
    advance(Duration::from_secs(server::TTL)).await;
    assert!(client.0.of(ACME).live().is_none());
    client.encrypt(ACME, b"a", b"").await.expect("a new one");
    assert!(held("-5"));
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again_and_the_old_session_serves() {
    let server = Server::start().await;
    let client = server.client();
    client.encrypt(ACME, b"a", b"").await.expect("encrypt");
    server.reply("session", Reply::Refuse(503, "busy", Some(7)));
    advance(RENEWAL + JITTER).await;
    eventually("tried", || server.seen("session").len() == 2).await;
    client
        .encrypt(ACME, b"a", b"")
        .await
        .expect("by the old one");
    advance(Duration::from_secs(3)).await;
    client
        .encrypt(ACME, b"a", b"")
        .await
        .expect("by the old one");
    assert_eq!(server.seen("session").len(), 2, "before Retry-After");
    advance(Duration::from_secs(5)).await;
    eventually("again", || server.seen("session").len() == 3).await;
}

#[tokio::test]
async fn any_number_of_calls_open_one_session() {
    let server = Server::start().await;
    let client = server.client();
    let gate = Arc::new(Semaphore::new(0));
    server.reply("session", Reply::Held(gate.clone()));
    let calls = join_all((0..20).map(|_| client.encrypt(ACME, b"a", b"")));
    let release = async {
        eventually("asked", || server.seen("session").len() == 1).await;
        gate.add_permits(20);
    };
    let (answers, ()) = tokio::join!(calls, release);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(server.seen("session").len(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_no_session_from_the_others() {
    let server = Server::start().await;
    let client = server.client();
    let gate = Arc::new(Semaphore::new(0));
    server.reply("session", Reply::Held(gate.clone()));
    tokio::select! {
        answer = client.encrypt(ACME, b"a", b"") => panic!("{answer:?}"),
        () = eventually("asked", || server.seen("session").len() == 1) => {}
    }
    gate.add_permits(1);
    client.encrypt(ACME, b"a", b"").await.expect("encrypt");
    assert_eq!(server.seen("session").len(), 1);
}

#[tokio::test]
async fn a_refused_session_is_replaced_once_by_one_for_all() {
    let server = Server::start().await;
    let client = server.client();
    client.encrypt(ACME, b"a", b"").await.expect("encrypt");
    server.end("tks1_hunter2-1");
    let answers = join_all((0..5).map(|_| client.encrypt(ACME, b"a", b""))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(server.seen("session").len(), 2);

    for kind in ["session_expired", "session_invalid"] {
        server.reply("decrypt", Reply::Refuse(401, kind, None));
    }
    let refused = client.decrypt(ACME, b"a|", b"").await.expect_err("twice");
    assert_eq!(refused.kind(), Kind::SessionInvalid);
    assert_eq!(refused.category(), Category::Unavailable);
    assert_eq!(server.seen("decrypt").len(), 2);
    assert_eq!(server.seen("session").len(), 3);
}
