//! A reviewer with moods, and what is reviewed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec;
use serde_json::json;
use tokio::sync::Semaphore;

use super::super::*;
use crate::clock::tests::Hand;
use crate::session::caller::tests::{answer, read};

#[derive(Clone, Copy, Debug)]
pub enum Mood {
    Yes,
    No,
    Hang,
    Fail(u16),
    /// An authorizer failed.
    Doubt,
    /// Says yes to each that is let through.
    Gate,
}

pub struct Scripted {
    mood: Mutex<Mood>,
    pub gate: Semaphore,
    asked: AtomicUsize,
    open: AtomicUsize,
    pub most: AtomicUsize,
    pub questions: Mutex<Vec<SubjectAccessReviewSpec>>,
}

impl Scripted {
    /// Whether it is a yes.
    async fn verdict(&self) -> Result<bool, Trouble> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let open = Open::new(&self.open);
        self.most.fetch_max(open.count, Ordering::SeqCst);
        let mood = *self.mood.lock().expect("lock");
        match mood {
            Mood::Yes => Ok(true),
            Mood::No | Mood::Doubt => Ok(false),
            Mood::Hang => std::future::pending().await,
            Mood::Fail(status) => Err(Trouble::Status(status)),
            Mood::Gate => {
                self.gate.acquire().await.expect("open").forget();
                Ok(true)
            }
        }
    }
}

/// Also a review that is given up is no longer open.
struct Open<'a> {
    counter: &'a AtomicUsize,
    count: usize,
}

impl<'a> Open<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        let count = counter.fetch_add(1, Ordering::SeqCst) + 1;
        Self { counter, count }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Reviewer for Scripted {
    async fn token(&self, _: &str) -> Result<TokenReviewStatus, Trouble> {
        let mut answer = answer();
        answer["authenticated"] = json!(self.verdict().await?);
        Ok(serde_json::from_value(answer).expect("a status"))
    }

    async fn access(
        &self,
        asked: SubjectAccessReviewSpec,
    ) -> Result<SubjectAccessReviewStatus, Trouble> {
        self.questions.lock().expect("lock").push(asked);
        let allowed = self.verdict().await?;
        let doubt = matches!(*self.mood.lock().expect("lock"), Mood::Doubt);
        Ok(SubjectAccessReviewStatus {
            allowed,
            evaluation_error: doubt.then(|| "webhook: timeout".to_owned()),
            ..SubjectAccessReviewStatus::default()
        })
    }
}

pub struct Stage {
    pub clock: Arc<Hand>,
    pub api: Arc<Scripted>,
    pub reviews: Reviews,
    pub caller: Arc<Caller>,
    pub acme: TenantId,
}

impl Stage {
    pub fn new(mood: Mood) -> Self {
        let clock = Arc::new(Hand::default());
        let api = Arc::new(Scripted {
            mood: Mutex::new(mood),
            gate: Semaphore::new(0),
            asked: AtomicUsize::default(),
            open: AtomicUsize::default(),
            most: AtomicUsize::default(),
            questions: Mutex::default(),
        });
        Self {
            reviews: Reviews::by(api.clone(), clock.clone()),
            clock,
            api,
            caller: Arc::new(read(answer()).expect("a caller")),
            acme: TenantId::new("tenants", "acme"),
        }
    }

    pub fn mood(&self, mood: Mood) {
        *self.api.mood.lock().expect("lock") = mood;
    }

    pub fn asked(&self) -> usize {
        self.api.asked.load(Ordering::SeqCst)
    }

    pub fn seconds(&self, seconds: u64) {
        self.clock.forward(Duration::from_secs(seconds));
    }

    pub async fn may(&self) -> Result<(), Refusal> {
        self.reviews
            .may(&self.caller, &self.acme, Right::Session)
            .await
    }

    /// The answer without an await.
    pub fn may_now(&self) -> Option<Result<(), Refusal>> {
        self.may().now_or_never()
    }

    pub fn forbidden(&self) -> Result<(), Refusal> {
        Err(forbidden(&self.caller, &self.acme, Right::Session))
    }
}
