//! A process for a search of memory to be tried on: a gigabyte of zeros, never touched but where it is
//! told to write. `sparse KEY PLACE…`: KEY in hex with all bits inverted, so that it is nowhere else as it
//! is; PLACE a page and the offset in it, `PAGE+OFFSET`, or only pages to touch, `FROM-TO`. It says the
//! address of page 0, and stays until it is killed.

use std::thread;

use anyhow::{Context, Result, bail};

const SIZE: usize = 1 << 30;

fn main() -> Result<()> {
    // Else a touch would bring in more than its page.
    rustix::thread::disable_transparent_huge_pages(true)?;
    let page = rustix::param::page_size();
    let mut args = std::env::args().skip(1);
    let key = args.next().context("a key")?;
    let digits = key.as_bytes().chunks(2);
    let byte = |two: &[u8]| anyhow::Ok(u8::from_str_radix(str::from_utf8(two)?, 16)?);
    let inverted: Vec<u8> = digits.map(byte).collect::<Result<_>>()?;
    let mut memory = vec![0_u8; SIZE];
    let first = memory.as_ptr().align_offset(page);
    for place in args {
        if let Some((at, offset)) = place.split_once('+') {
            let at = first + at.parse::<usize>()? * page + offset.parse::<usize>()?;
            let there = memory[at..].iter_mut();
            there
                .zip(&inverted)
                .for_each(|(byte, inverted)| *byte = !inverted);
        } else if let Some((from, to)) = place.split_once('-') {
            for at in from.parse::<usize>()?..to.parse()? {
                memory[first + at * page] = 1;
            }
        } else {
            bail!("{place} is no place");
        }
    }
    println!("{:x}", memory[first..].as_ptr().addr());
    loop {
        thread::park();
    }
}
