//! One TLS stack, no C library of the machine: a second one would come in by somebody's default
//! features, and nobody would see it.

use anyhow::{Result, bail};

use crate::{step, tools};

/// Name and, where only some versions are unwanted, the beginning of the version.
const UNWANTED: [(&str, &str); 4] = [
    ("ring", ""),
    ("openssl-sys", ""),
    ("native-tls", ""),
    ("hyper", "0."),
];

/// Fails when one of them is in what is built for this machine with all features.
pub fn check() -> Result<()> {
    step::heading("dependencies: one TLS stack");
    let args = [
        "tree",
        "--workspace",
        "--all-features",
        "--edges=normal,build",
        "--prefix=none",
        "--format={p}",
    ];
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let Some(tree) = tools::said(&cargo, &args) else {
        bail!("`cargo tree` failed");
    };
    if !tree.lines().any(|line| line.starts_with("rustls v")) {
        bail!("`cargo tree` does not show what is built");
    }
    let found: Vec<&str> = tree.lines().filter(|line| unwanted(line)).collect();
    if let Some(first) = found.first() {
        let package = first.replacen(" v", "@", 1);
        let package = package.split(' ').next().unwrap_or_default();
        bail!("{first} is built; `cargo tree --all-features -i {package}` says why");
    }
    println!("ring, openssl-sys, native-tls and hyper 0.14 are not among them");
    Ok(())
}

/// Whether a line `NAME vVERSION …` of the tree names an unwanted package.
fn unwanted(line: &str) -> bool {
    UNWANTED.iter().any(|(name, version)| {
        line.strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(" v"))
            .is_some_and(|rest| rest.starts_with(version))
    })
}

#[cfg(test)]
mod tests {
    use super::unwanted;

    #[test]
    fn only_the_unwanted_are_found() {
        for line in [
            "ring v0.17.14",
            "openssl-sys v0.9.111",
            "hyper v0.14.32",
            "native-tls v0.2.14 (*)",
        ] {
            assert!(unwanted(line), "{line}");
        }
        for line in [
            "hyper v1.9.0",
            "ring-compat v0.8.0",
            "string v0.3",
            "rustls v0.23.46",
            "",
        ] {
            assert!(!unwanted(line), "{line}");
        }
    }
}
