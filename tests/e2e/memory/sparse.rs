//! The search itself, tried on a process that has a gigabyte and wrote on a few pages of it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::Guarded;
use rustix::process::Signal;

use super::image::{CHUNK, Find, Seen, search_stopped};
use crate::faults::town::SOON;
use crate::seen::eventually;

const SIZE: u64 = 1 << 30;

/// What the search sees in a process that has `key` in these places, each a page and the offset in it, and
/// touched more pages; and where its page 0 is.
async fn tried(key: &[u8], places: &[(u64, u64)], touched: &Range<u64>) -> Result<(u64, Seen)> {
    let inverted = key.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{:02x}", !byte);
        text
    });
    let mut args = vec![inverted, format!("{}-{}", touched.start, touched.end)];
    let places = places
        .iter()
        .map(|(page, offset)| format!("{page}+{offset}"));
    args.extend(places);
    let program = Path::new(env!("CARGO_BIN_EXE_tenant-kms")).with_file_name("sparse");
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let process = {
        let log = log.clone();
        let spawn = move || Guarded::spawn(&program, &args, &[].into(), &log);
        tokio::task::spawn_blocking(spawn).await??
    };
    eventually("it has written", SOON, async || {
        Ok(fs::read_to_string(&log).is_ok_and(|said| said.ends_with('\n')))
    })
    .await?;
    let said = fs::read_to_string(&log)?;
    let first = u64::from_str_radix(said.trim(), 16).context(said)?;
    process.signal(Signal::STOP)?;
    Ok((first, search_stopped(process.pid(), &[key.to_vec()])?))
}

#[tokio::test]
async fn a_key_is_found_on_whatever_page_and_no_page_is_read_that_was_never_touched() -> Result<()>
{
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key)?;
    let page = rustix::param::page_size() as u64;
    let pages = |bytes: u64| bytes / page;
    // Longer than what is read at a time.
    let begin = pages(SIZE / 16);
    let chunk = pages(CHUNK as u64);
    let touched = begin..begin + chunk + 2;
    let places = [
        // A single page, from within and up to its end.
        (pages(SIZE / 2), 100),
        (pages(SIZE / 4), page - 32),
        // From one page to the next, and from what is read at a time to the next.
        (pages(SIZE / 8), page - 13),
        (begin + chunk - 1, page - 5),
    ];
    let (first, few) = tried(&key, &places, &touched).await?;
    let wanted: BTreeSet<u64> = places
        .iter()
        .flat_map(|(at, offset)| (0..4).map(move |piece| first + at * page + offset + piece * 8))
        .collect();
    let found: BTreeSet<u64> = few.found.iter().map(|one: &Find| one.address).collect();
    ensure!(found == wanted, "wanted {wanted:x?}: {:#?}", few.found);
    ensure!(few.pages < pages(SIZE) / 16, "{} pages", few.pages);

    let more = touched.start..touched.end + 1000;
    let (_, more) = tried(&key, &places, &more).await?;
    let more = more.pages.abs_diff(few.pages);
    ensure!(more.abs_diff(1000) < 20, "{more} pages for 1000 more");
    Ok(())
}
