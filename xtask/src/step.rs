//! One step: a program with a heading, its output passed through as it comes, and a line with the
//! time so far whenever it has said nothing for a while.

use std::fmt::Display;
use std::io::{self, IsTerminal, PipeReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::signals;

/// Nobody waits longer than ten seconds without a line.
const SILENCE: Duration = Duration::from_secs(9);
/// How long what a step left behind may go on writing after the step itself has ended.
const REST: Duration = Duration::from_secs(20);

/// A command that writes in color when this process does.
pub fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    if io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command
}

/// The cargo that runs this.
pub fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    command(&cargo, args)
}

/// What the product's own program prints.
pub fn product(args: &[&str]) -> Result<String> {
    let fixed = [
        "run",
        "--quiet",
        "--package",
        "tenant-kms-operator",
        "--bin",
        "tenant-kms",
        "--",
    ];
    let output = cargo(&[&fixed, args].concat())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() || output.stdout.is_empty() {
        bail!("tenant-kms {}: {}", args.join(" "), output.status);
    }
    String::from_utf8(output.stdout).context("the program prints UTF-8")
}

pub fn heading(what: impl Display) {
    let mut out = io::stdout();
    // A closed stdout is no reason to fail what is being reported on.
    let _ = writeln!(out, "\n=== {what}");
    let _ = out.flush();
}

/// Runs a command to its end; an error when it fails.
pub fn run(what: &str, mut command: Command) -> Result<()> {
    signals::check()?;
    heading(what);
    let (output, writer) = io::pipe()?;
    let program = command.get_program().to_owned();
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        // A group of its own, so that a signal can be passed on to all of it.
        .process_group(0);
    let started = Instant::now();
    let child = command.spawn();
    // It holds this side's ends of the pipe, which would never end otherwise.
    drop(command);
    let child = child.with_context(|| format!("start {}", program.display()))?;
    signals::step_runs(child.id());
    let chunks = pass_through(output);
    let status = follow(what, child, &chunks, started);
    signals::step_ended();
    let status = status?;
    signals::check()?;
    if !status.success() {
        bail!("{what}: {status}");
    }
    Ok(())
}

/// Replaces this process: signals and the terminal then belong to that program alone.
pub fn become_program(mut command: Command) -> Result<ExitCode> {
    signals::check()?;
    let program = command.get_program().to_owned();
    let error = command.exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}

fn pass_through(mut output: PipeReader) -> Receiver<()> {
    let (sender, chunks) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        let mut out = io::stdout();
        loop {
            match output.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    // When nobody reads us the step still goes on.
                    let _ = out.write_all(&buffer[..length]);
                    let _ = out.flush();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            }
            if sender.send(()).is_err() {
                break;
            }
        }
    });
    chunks
}

/// Until the child has ended and all of its output is through.
fn follow(
    what: &str,
    mut child: Child,
    chunks: &Receiver<()>,
    started: Instant,
) -> Result<std::process::ExitStatus> {
    let mut ended = None;
    loop {
        match chunks.recv_timeout(SILENCE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(child.wait()?),
            Err(RecvTimeoutError::Timeout) => match child.try_wait()? {
                None => println!("    … {what}: {} s", started.elapsed().as_secs()),
                // Something it started still holds the pipe.
                Some(status) => {
                    let since = *ended.get_or_insert_with(Instant::now);
                    if since.elapsed() > REST {
                        return Ok(status);
                    }
                }
            },
        }
    }
}
