//! Kubernetes Events for people who look at one object. Best effort and limited: an Event that
//! cannot be written is counted, never waited for.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::Semaphore;
use tokio::time::{interval, timeout};
use tracing::debug;

use super::object::Meta;
use crate::api::Reason;
use crate::server::metrics::Metrics;

const PER_SECOND: u32 = 5;
const BURST: usize = 50;
const DEADLINE: Duration = Duration::from_secs(5);
/// The API server's limit for a note is 1 kB.
const NOTE: usize = 1_000;

pub struct Events {
    recorder: Recorder,
    permits: Semaphore,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    pub fn new(client: Client, instance: &str, metrics: Arc<Metrics>) -> Self {
        let reporter = Reporter {
            controller: "tenant-kms-operator".to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            permits: Semaphore::new(BURST),
            metrics,
        }
    }

    /// Hands out the permits; runs as long as the process.
    pub async fn run(&self) {
        let mut ticks = interval(Duration::from_secs(1) / PER_SECOND);
        loop {
            ticks.tick().await;
            if self.permits.available_permits() < BURST {
                self.permits.add_permits(1);
            }
        }
    }

    /// Tells that `object` is in another state. Nobody waits for it.
    pub fn tell(&self, object: &Meta, reason: Reason, good: bool, message: &str) {
        let Ok(permit) = self.permits.try_acquire() else {
            return self.metrics.event_dropped();
        };
        permit.forget();
        let event = Event {
            type_: if good {
                EventType::Normal
            } else {
                EventType::Warning
            },
            reason: reason.name().to_owned(),
            note: Some(message.chars().take(NOTE).collect()),
            action: "Verify".to_owned(),
            secondary: None,
        };
        let regarding = object.reference();
        let (recorder, metrics) = (self.recorder.clone(), self.metrics.clone());
        // At most as many at once as the permits let begin within the deadline.
        tokio::spawn(async move {
            let told = timeout(DEADLINE, recorder.publish(&event, &regarding)).await;
            if !matches!(told, Ok(Ok(()))) {
                debug!("an event could not be written");
                metrics.event_dropped();
            }
        });
    }
}
