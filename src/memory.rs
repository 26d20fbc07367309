//! What the system could do with the operator's memory, and is kept from doing: dumps and swap.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// What was possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protected {
    /// No core dump, and no other process of the same user reads this memory.
    pub no_dumps: bool,
    /// Nothing is swapped out.
    pub locked: bool,
}

/// Turns core dumps off, and locks the memory where the limit of it is none: under a limit the
/// process would end when it needs more.
pub fn protect() -> Protected {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let no_core = setrlimit(Resource::Core, none);
    let no_dump = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    Protected {
        no_dumps: no_core.and(no_dump).is_ok(),
        locked: unlimited && mlockall(flags).is_ok(),
    }
}
