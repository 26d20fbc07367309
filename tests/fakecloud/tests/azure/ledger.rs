//! The ledger and the life of a cloud: what was asked, what must not leak, what is left when it ends.

use std::time::{Duration, Instant};

use fakecloud::FakeCloud;

use crate::desk::{Desk, HOST, SECRET};

#[tokio::test]
async fn calls_are_counted_and_forgotten() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    desk.wrap(&token).await;
    desk.wrap(&token).await;
    assert_eq!(desk.cloud.count(HOST, "wrapkey"), 2);
    assert_eq!(desk.cloud.count("*", "*"), 3);
    assert_eq!(desk.cloud.count("login.microsoftonline.com", "*"), 1);
    let calls = desk.cloud.calls();
    assert!(
        calls
            .windows(2)
            .all(|pair| pair[0].instant <= pair[1].instant)
    );
    desk.cloud.reset_calls();
    assert_eq!(desk.cloud.count("*", "*"), 0);
    desk.wrap(&token).await;
    assert_eq!(desk.cloud.calls()[0].status, 200);
}

#[tokio::test]
async fn every_secret_is_remembered() {
    let desk = Desk::new().await;
    let token = desk.token().await;
    desk.secret_login("a wrong guess").await;
    desk.wrap("a token from elsewhere").await;
    desk.app.add_expired_secret("expired");
    let issued = desk.cloud.issued();
    for secret in [
        SECRET,
        "a wrong guess",
        "a token from elsewhere",
        "expired",
        &token,
    ] {
        assert_eq!(
            issued.iter().filter(|known| *known == secret).count(),
            1,
            "{secret}"
        );
    }
    let calls = format!("{:?}", desk.cloud.calls());
    assert!(
        issued.iter().all(|secret| !calls.contains(secret)),
        "the ledger holds no secret"
    );
}

#[tokio::test]
async fn many_start_fast_and_end_whole() {
    let start = Instant::now();
    let clouds: Vec<FakeCloud> = futures::future::try_join_all((0..20).map(|_| FakeCloud::start()))
        .await
        .unwrap();
    let each = start.elapsed() / 20;
    assert!(each < Duration::from_secs(1), "{each:?}");
    println!("a start takes {each:?}");
    // Those of one: what is free again may be taken by anybody.
    let one = &clouds[0];
    let places = [one.proxy_url(), one.control_url(), &one.imds_url()].map(str::to_owned);
    let folders: Vec<_> = clouds
        .iter()
        .map(|cloud| cloud.ca_file().to_owned())
        .collect();
    let connect =
        |place: &String| std::net::TcpStream::connect(place.strip_prefix("http://").unwrap());
    assert!(places.iter().all(|place| connect(place).is_ok()));
    drop(clouds);
    assert!(
        places.iter().all(|place| connect(place).is_err()),
        "nothing listens any more"
    );
    assert!(folders.iter().all(|file| !file.exists()), "no file is left");
}

#[test]
fn a_blocked_runtime_does_not_block_the_cloud() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cloud = runtime.block_on(FakeCloud::start()).unwrap();
    let other = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let status = other.block_on(async {
        let url = format!("{}/count", cloud.control_url());
        reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .get(url)
            .send()
            .await
            .unwrap()
            .status()
    });
    assert_eq!(status, 200);
}
