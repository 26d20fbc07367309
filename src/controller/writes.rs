//! Writes to the API server: how fast, and only what differs. Seals go first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

const PER_SECOND: u32 = 50;
const BURST: usize = 25;

/// Lets 50 writes a second through, those that report a seal before all others.
#[derive(Debug)]
pub struct Gate {
    urgent: Semaphore,
    normal: Semaphore,
    urgent_waiting: AtomicUsize,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            urgent: Semaphore::new(0),
            normal: Semaphore::new(BURST),
            urgent_waiting: AtomicUsize::new(0),
        }
    }
}

impl Gate {
    /// Hands out the permits; runs as long as the process.
    pub async fn run(&self) {
        let mut ticks = interval(Duration::from_secs(1) / PER_SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.urgent_waiting.load(Ordering::Relaxed) > self.urgent.available_permits() {
                self.urgent.add_permits(1);
            } else if self.normal.available_permits() < BURST {
                self.normal.add_permits(1);
            }
        }
    }

    /// Waits for the right to write once.
    pub async fn pass(&self, urgent: bool) {
        if urgent {
            if let Ok(permit) = self.normal.try_acquire() {
                return permit.forget();
            }
            self.urgent_waiting.fetch_add(1, Ordering::Relaxed);
            let waiting = Waiting(&self.urgent_waiting);
            let permit = self.urgent.acquire().await;
            drop(waiting);
            if let Ok(permit) = permit {
                permit.forget();
            }
        } else if let Ok(permit) = self.normal.acquire().await {
            permit.forget();
        }
    }
}

/// Counts one waiter less, also when the waiting is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The JSON merge patch (RFC 7386) that turns `from` into `to`; `None` when they are equal.
pub fn merge_patch(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return Some(to.clone());
    };
    let removed = from
        .keys()
        .filter(|key| !to.contains_key(*key))
        .map(|key| (key.clone(), Value::Null));
    let changed = to.iter().filter_map(|(key, value)| {
        let before = from.get(key).unwrap_or(&Value::Null);
        merge_patch(before, value).map(|patch| (key.clone(), patch))
    });
    Some(Value::Object(removed.chain(changed).collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_says_only_what_differs() {
        let from = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1, 2]});
        assert_eq!(merge_patch(&from, &from), None);
        assert_eq!(
            merge_patch(&from, &json!({"b": {"c": 3}, "e": [2], "f": {"g": 1}})),
            Some(json!({"a": null, "b": {"c": 3, "d": null}, "e": [2], "f": {"g": 1}}))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn seals_pass_first() {
        let gate = std::sync::Arc::new(Gate::default());
        for _ in 0..BURST {
            gate.pass(false).await;
        }
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        for urgent in [false, false, true] {
            let (gate, done) = (gate.clone(), done.clone());
            tokio::spawn(async move {
                gate.pass(urgent).await;
                let _ = done.send(urgent);
            });
        }
        tokio::task::yield_now().await;
        let runner = tokio::spawn(async move { gate.run().await });
        assert_eq!(order.recv().await, Some(true));
        assert_eq!(order.recv().await, Some(false));
        runner.abort();
    }
}
