//! The memory of another process, read from /proc: the pages that exist. An allocator reserves far more
//! than it uses, and what was never touched takes long to read and holds nothing.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

// Of an entry of /proc/PID/pagemap, which has one for each page
// (Documentation/admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;
/// Reading it brings it back.
const SWAPPED: u64 = 1 << 62;
/// A page of a file as the file has it, or of memory that is shared.
const FILE: u64 = 1 << 61;
/// What was there is gone, and reading it fails.
const GUARD: u64 = 1 << 58;
const ENTRY: usize = size_of::<u64>();
/// How many entries are read at a time.
const ENTRIES: u64 = 1 << 18;

/// Whatever its permissions are now: they may have been others when something was written.
#[derive(Debug)]
struct Mapping {
    range: Range<u64>,
    writable: bool,
    shared: bool,
    line: String,
}

impl Mapping {
    /// Of a line of /proc/PID/maps; `None` when it is the kernel's own ([vdso], [vvar], …).
    fn of(line: &str) -> Result<Option<Self>> {
        let mut fields = line.split_whitespace();
        let range = fields.next().and_then(|range| range.split_once('-'));
        let (from, to) = range.context("a range")?;
        let may = fields.next().context("permissions")?;
        if fields.nth(3).is_some_and(|name| name.starts_with("[v")) {
            return Ok(None);
        }
        Ok(Some(Self {
            range: u64::from_str_radix(from, 16)?..u64::from_str_radix(to, 16)?,
            writable: may.contains('w'),
            shared: may.contains('s'),
            line: line.to_owned(),
        }))
    }

    /// Whether a page with this entry may hold what the process wrote.
    fn may_hold(&self, entry: u64) -> bool {
        // A shared page can exist without being in this process's tables.
        let exists = self.shared || entry & (PRESENT | SWAPPED) != 0;
        exists && entry & GUARD == 0 && (self.shared || self.writable || entry & FILE == 0)
    }
}

/// What of a process's memory may hold its data.
pub struct Memory {
    file: File,
    mappings: Vec<Mapping>,
    /// Of a page.
    pub page: u64,
    /// Pages that may hold data, as far as one follows the other.
    pub runs: Vec<Range<u64>>,
}

impl Memory {
    /// Of a process that has been told to stop, as soon as it has.
    pub fn of(pid: u32) -> Result<Self> {
        let refused =
            "another process's memory may be read by root alone (CAP_SYS_PTRACE): run this as root";
        stands_still(pid)?;
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).context(refused)?;
        let pagemap = File::open(format!("/proc/{pid}/pagemap")).context(refused)?;
        let file = File::open(format!("/proc/{pid}/mem")).context(refused)?;
        let mappings = maps.lines().map(Mapping::of);
        let mappings: Result<Vec<_>> = mappings.filter_map(Result::transpose).collect();
        let mut memory = Self {
            file,
            mappings: mappings?,
            page: rustix::param::page_size() as u64,
            runs: Vec::new(),
        };
        memory.runs = memory.existing(&pagemap)?;
        Ok(memory)
    }

    fn existing(&self, pagemap: &File) -> Result<Vec<Range<u64>>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        let mut buffer = Vec::new();
        for mapping in &self.mappings {
            let Range { start, end } = mapping.range;
            for from in (start..end).step_by(usize::try_from(ENTRIES * self.page)?) {
                let count = ENTRIES.min((end - from) / self.page);
                buffer.resize(usize::try_from(count)? * ENTRY, 0);
                pagemap
                    .read_exact_at(&mut buffer, from / self.page * ENTRY as u64)
                    .with_context(|| mapping.line.clone())?;
                let (entries, _) = buffer.as_chunks::<ENTRY>();
                for (at, entry) in (from..).step_by(usize::try_from(self.page)?).zip(entries) {
                    if !mapping.may_hold(u64::from_ne_bytes(*entry)) {
                        continue;
                    }
                    match runs.last_mut() {
                        Some(run) if run.end == at => run.end += self.page,
                        _ => runs.push(at..at + self.page),
                    }
                }
            }
        }
        Ok(runs)
    }

    /// Reads a part of a run.
    pub fn read(&self, part: &mut [u8], at: u64) -> Result<()> {
        let read = self.file.read_exact_at(part, at);
        read.with_context(|| format!("{at:x} in {}", self.name(at)))
    }

    /// The mapping that has this address.
    pub fn name(&self, address: u64) -> &str {
        let has = |mapping: &&Mapping| mapping.range.contains(&address);
        let mapping = self.mappings.iter().find(has);
        mapping.map_or("no mapping", |mapping| &mapping.line)
    }
}

/// Waits until no thread runs any more.
fn stands_still(pid: u32) -> Result<()> {
    let since = Instant::now();
    loop {
        let mut stopped = true;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let stat = fs::read_to_string(thread?.path().join("stat"))?;
            // The state follows the name, which is in parentheses and may hold any.
            let (_, state) = stat.rsplit_once(')').context("a name")?;
            stopped &= state.starts_with(" T");
        }
        if stopped {
            return Ok(());
        }
        ensure!(
            since.elapsed() < Duration::from_secs(5),
            "{pid} does not stop"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_may_hold_data_is_told_by_its_page_and_not_by_what_is_permitted_now() -> Result<()> {
    let mapping = |may: &str, name: &str| {
        let line = format!("7f0000000000-7f0040000000 {may} 00000000 00:00 0    {name}");
        Mapping::of(&line)
    };
    let no_page = 0;
    let (own, file) = (PRESENT, PRESENT | FILE);
    for (may, held) in [
        ("rw-p", [false, true, true, true]),
        ("---p", [false, true, true, false]),
        ("r--p", [false, true, true, false]),
        ("r-xp", [false, true, true, false]),
        ("rw-s", [true, true, true, true]),
    ] {
        let mapping = mapping(may, "")?.context("a mapping")?;
        let entries = [no_page, own, SWAPPED, file];
        let said = entries.map(|entry| mapping.may_hold(entry));
        ensure!(said == held, "{may}: {said:?}");
        ensure!(!mapping.may_hold(SWAPPED | GUARD), "{may}");
    }
    for name in ["[heap]", "[stack]", "[anon:mimalloc]", "/bin/vim"] {
        ensure!(mapping("rw-p", name)?.is_some(), "{name}");
    }
    for name in ["[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]"] {
        ensure!(mapping("r--p", name)?.is_none(), "{name}");
    }
    Ok(())
}
