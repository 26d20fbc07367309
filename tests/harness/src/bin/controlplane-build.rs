//! Builds the control plane's program, if it is not in the cache yet, and prints where it is. For
//! `cargo xtask`, which must know it done before it hands the terminal over.

fn main() -> anyhow::Result<()> {
    println!("{}", harness::binaries()?.display());
    Ok(())
}
