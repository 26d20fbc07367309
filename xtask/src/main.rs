//! The project's commands: `cargo xtask test|demo|cluster|image|bench|lint|crd|docs`. It parses the command line and
//! orders the steps; what a step does is in the file of its name, and no step asks a question.

mod bench;
mod build;
mod cluster;
mod crd;
mod demo;
mod dependencies;
mod docs;
mod image;
mod lint;
mod python;
mod signals;
mod step;
mod test;
mod tools;
mod values;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
The project's commands:

  cargo xtask demo [--provider azure|aws|gcp] [--keep]
                                    the whole story on a real API server and loopback clouds, in Azure if
                                    not told; --keep leaves it running until Ctrl-C
  cargo xtask demo --cluster        the same with the chart installed on a real node (root)
  cargo xtask cluster up|down       a cluster of one node with the chart installed (root)
  cargo xtask image [OPTION]...     build the Dockerfile and check what is in the image; options are
                                    the builder's
  cargo xtask test [--long]         everything that must hold; --long adds what takes longer
  cargo xtask lint                  rustfmt and clippy, warnings are errors
  cargo xtask bench latency|idle|sessions|revocation|isolation|calls|size [--provider azure|aws|gcp]
                                    how quick, how big, what workloads' calls cost, how soon a no is obeyed,
                                    what a cloud that hangs does to the others, what one tenant asks of a
                                    cloud, how big the program is (release build)
  cargo xtask crd                   write the generated CustomResourceDefinition to crds/ and the chart
  cargo xtask docs                  write what is generated: the table of reasons in docs/troubleshooting.md,
                                    docs/openapi.json and the chart's README.md
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(code) => code,
        // Whoever pressed Ctrl-C knows why it ended.
        Err(_) if signals::received().is_some() => ExitCode::from(130),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<ExitCode> {
    signals::forward_to_the_step()?;
    match args {
        ["demo", "--cluster"] => cluster::demo(),
        ["demo", options @ ..] => demo::run(options),
        ["cluster", what @ ("up" | "down")] => cluster::run(what),
        ["image", options @ ..] => image::run(options),
        ["test"] => test::run(false),
        ["test", "--long"] => test::run(true),
        ["bench", "size"] => bench::size(),
        [
            "bench",
            what @ ("latency" | "idle" | "sessions" | "revocation" | "isolation" | "calls"),
            options @ ..,
        ] => bench::run(what, options),
        ["lint"] => lint::run(),
        ["crd"] => crd::run(),
        ["docs"] => docs::run(),
        [] | ["help" | "-h" | "--help"] => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("no such command: {}\n\n{USAGE}", args.join(" ")),
    }
}
