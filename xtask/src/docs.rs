//! `cargo xtask docs`: writes what the product knows of itself to docs/.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{build, step, values};

const OPENAPI: &str = "docs/openapi.json";
const PAGE: &str = "docs/troubleshooting.md";
const BEGIN: &str = "<!-- reasons:begin -->\n";
const END: &str = "<!-- reasons:end -->";

pub fn run() -> Result<ExitCode> {
    step::heading("the table of reasons");
    let table = step::product(&["explain", "--markdown"])?;
    let path = build::root().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("read {PAGE}"))?;
    let parts = page
        .split_once(BEGIN)
        .and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let Some((head, tail)) = parts else {
        bail!("{PAGE} has lost its markers {} and {END}", BEGIN.trim());
    };
    let written = format!("{head}{BEGIN}{table}{END}{tail}");
    let word = if written == page {
        "unchanged"
    } else {
        "written"
    };
    fs::write(&path, written).with_context(|| format!("write {PAGE}"))?;
    println!("{word}: {PAGE}");
    openapi()?;
    values::write()?;
    Ok(ExitCode::SUCCESS)
}

fn openapi() -> Result<()> {
    let text = step::product(&["openapi"])?;
    let path = build::root().join(OPENAPI);
    let unchanged = fs::read_to_string(&path).is_ok_and(|before| before == text);
    fs::write(&path, text).with_context(|| format!("write {OPENAPI}"))?;
    let word = if unchanged { "unchanged" } else { "written" };
    println!("{word}: {OPENAPI}");
    Ok(())
}
