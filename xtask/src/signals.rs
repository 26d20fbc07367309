//! Ctrl-C and SIGTERM: passed on to the step that runs, which cleans up and ends. This process must
//! never end before that step, or what the step started would be nobody's.

use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

#[derive(Debug)]
struct State {
    received: Option<Signal>,
    /// The process group of the step that runs.
    group: Option<Pid>,
}

static STATE: Mutex<State> = Mutex::new(State {
    received: None,
    group: None,
});

fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(&mut STATE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// From now on signals do not end this process but its step.
pub fn forward_to_the_step() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("receive signals")?;
    thread::spawn(move || {
        for number in signals.forever() {
            let signal = match number {
                SIGINT => Signal::INT,
                SIGHUP => Signal::HUP,
                _ => Signal::TERM,
            };
            with(|state| {
                state.received = Some(signal);
                send(state);
            });
        }
    });
    Ok(())
}

pub fn received() -> Option<Signal> {
    with(|state| state.received)
}

/// Fails once a signal has come: then nothing new is begun.
pub fn check() -> Result<()> {
    match received() {
        Some(_) => bail!("interrupted"),
        None => Ok(()),
    }
}

/// Says which process group a signal is for; one that came in between is passed on at once.
pub fn step_runs(pid: u32) {
    with(|state| {
        state.group = i32::try_from(pid).ok().and_then(Pid::from_raw);
        send(state);
    });
}

pub fn step_ended() {
    with(|state| state.group = None);
}

fn send(state: &State) {
    if let (Some(signal), Some(group)) = (state.received, state.group) {
        // The group may have ended just now.
        let _ = kill_process_group(group, signal);
    }
}
