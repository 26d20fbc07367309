//! Kubernetes Events for people who look at one object. Best effort and limited: an Event that
//! cannot be written is counted, never waited for.

use std::time::Duration;

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::sync::Semaphore;
use tokio::time::{interval, timeout};
use tracing::debug;

use crate::api::{Reason, TenantKms};

const PER_SECOND: u32 = 5;
const BURST: usize = 50;
const DEADLINE: Duration = Duration::from_secs(5);
/// The API server's limit for a note is 1 kB.
const NOTE: usize = 1_000;

pub struct Events {
    recorder: Recorder,
    permits: Semaphore,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: "tenant-kms-operator".to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            permits: Semaphore::new(BURST),
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

    /// Tells that `object` is in another state; false when it was not told.
    pub async fn tell(
        &self,
        object: &TenantKms,
        reason: Reason,
        good: bool,
        message: &str,
    ) -> bool {
        let Ok(permit) = self.permits.try_acquire() else {
            return false;
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
        let regarding = object.object_ref(&());
        let told = self.recorder.publish(&event, &regarding);
        let told = matches!(timeout(DEADLINE, told).await, Ok(Ok(())));
        if !told {
            debug!("an event could not be written");
        }
        told
    }
}
