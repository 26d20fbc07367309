//! `tenant-kms explain REASON`: what a reason means and what to do about it.

use std::process::ExitCode;

use crate::api::Reason;
use crate::provider::explain::{markdown, row, table};

/// What a reason means, what to check, and the command that mends it, in each cloud
#[derive(Debug, clap::Args)]
pub struct Args {
    /// All reasons as a Markdown table
    #[arg(long, conflicts_with = "reason")]
    markdown: bool,
    /// A reason as conditions and events show it, in any case; without one all are listed
    reason: Option<String>,
}

pub fn run(args: Args) -> ExitCode {
    if args.markdown {
        print!("{}", markdown());
        return ExitCode::SUCCESS;
    }
    let Some(wanted) = args.reason else {
        for row in table() {
            println!("{:<20} {}", row.reason.name(), row.meaning);
        }
        return ExitCode::SUCCESS;
    };
    let known = Reason::ALL.into_iter();
    let mut known = known.filter(|reason| reason.name().eq_ignore_ascii_case(&wanted));
    let Some(row) = known.next().map(row) else {
        let names = Reason::ALL.map(Reason::name).join(", ");
        eprintln!("there is no such reason. Reasons are: {names}");
        return ExitCode::FAILURE;
    };
    println!("{} ({})", row.reason.name(), row.kind);
    println!("  means    {}", row.meaning);
    println!("  check    {}", row.check);
    for (number, command) in row.commands().enumerate() {
        let word = if number == 0 { "command" } else { "or" };
        println!("  {word:<7}  {command}");
    }
    ExitCode::SUCCESS
}
