//! Parses the command line and calls the library.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use rustix::thread::disable_transparent_huge_pages;
use tenant_kms::cli::{self, Cli};
use zeroizing_alloc::ZeroAlloc;

/// Whatever held a key in the clear is overwritten when it is freed, also in libraries that do not
/// zeroize: HTTP buffers, JSON, base64. Underneath is mimalloc: what the C library's keeps free between the
/// objects of thousands of tenants is more than they take.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

const MOST_WORKERS: usize = 2;

fn main() -> ExitCode {
    // First of all: where the system gives them to everybody, a huge page would be resident for the first
    // bytes that the allocator puts there. An error means a kernel without them.
    let _ = disable_transparent_huge_pages(true);
    let cli = Cli::parse();
    // Chosen once for the whole process, before anything speaks TLS. An error means that it was
    // chosen already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // On a single core a second worker does nothing but take turns with the first.
    let cores = std::thread::available_parallelism().map_or(MOST_WORKERS, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(MOST_WORKERS))
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli::run(cli)),
        Err(error) => {
            eprintln!("tenant-kms: no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}
