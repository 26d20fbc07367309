//! What the demo prints: lines with the seconds since its start, and commands with their real
//! output. It never fails: a demo whose output nobody reads any more still cleans up.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use harness::Cloud;
use tokio::time::{Instant, interval_at};

/// Longer than this nobody waits without a line.
const SILENCE: Duration = Duration::from_secs(8);
/// The width of the time in front of a line.
const INDENT: &str = "           ";

#[derive(Debug)]
pub struct Timeline {
    start: Instant,
}

impl Timeline {
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// A line of the story.
    pub fn say(&self, text: impl Display) {
        let seconds = self.seconds();
        print(format_args!("[{seconds:6.1} s] {text}"));
    }

    /// A step of the story: set apart.
    pub fn step(&self, text: impl Display) {
        print("");
        self.say(text);
    }

    /// Waits for `work`, with a line now and then that says for what.
    pub async fn patiently<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let mut lines = interval_at(Instant::now() + SILENCE, SILENCE);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = lines.tick() => self.say(format_args!("… {what}")),
            }
        }
    }
}

/// More about the line before.
pub fn more(text: impl Display) {
    for line in text.to_string().lines() {
        print(format_args!("{INDENT}{line}").to_string().trim_end());
    }
}

/// Long text, broken at spaces; the command in it (from `az ` or another cloud's on) on a line of its own.
pub fn quote(text: &str) {
    let commands = Cloud::ALL.map(|cloud| format!(" {}", cloud.words().command));
    let (text, command) = match commands.iter().find_map(|command| text.find(command)) {
        Some(at) => text.split_at(at + 1),
        None => (text, ""),
    };
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.len() + word.len() > 84 {
            more(format_args!("│ {line}"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    more(format_args!("│ {line}"));
    if !command.is_empty() {
        more(format_args!("│   {command}"));
    }
}

fn print(text: impl Display) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
