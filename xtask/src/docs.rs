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
    let page = fs::read_to_string(path).with_context(|| format!("read {PAGE}"))?;
    let parts = page
        .split_once(BEGIN)
        .and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let Some((head, tail)) = parts else {
        bail!("{PAGE} has lost its markers {} and {END}", BEGIN.trim());
    };
    build::write(PAGE, &format!("{head}{BEGIN}{table}{END}{tail}"))?;
    build::write(OPENAPI, &step::product(&["openapi"])?)?;
    values::write()?;
    Ok(ExitCode::SUCCESS)
}
