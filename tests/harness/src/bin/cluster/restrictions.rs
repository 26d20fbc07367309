//! What the operator's processes may do, read from the kernel and not from what the chart asks for.

use std::fs;

use anyhow::{Result, ensure};
use harness::node::Pod;

/// Fields of /proc/PID/status of a process that is nobody in particular: no capability, not even
/// one to gain, and a filter on its system calls.
const STATUS: [(&str, &str); 9] = [
    ("Uid", "65532 65532 65532 65532"),
    ("Gid", "65532 65532 65532 65532"),
    ("CapInh", "0000000000000000"),
    ("CapPrm", "0000000000000000"),
    ("CapEff", "0000000000000000"),
    ("CapBnd", "0000000000000000"),
    ("CapAmb", "0000000000000000"),
    ("NoNewPrivs", "1"),
    ("Seccomp", "2"),
];

pub fn check(pods: &[Pod]) -> Result<()> {
    for pod in pods {
        for (field, wanted) in STATUS {
            let found = pod.status(field)?;
            ensure!(found == wanted, "{}: {field} is {found}", pod.name);
        }
        let mounts = fs::read_to_string(pod.process()?.join("mountinfo"))?;
        let writable = writable(&mounts);
        ensure!(
            writable.is_empty(),
            "{} may write to {writable:?}",
            pod.name
        );
    }
    Ok(())
}

/// What every container is given, to be written to by root alone.
const GIVEN: [&str; 4] = ["/proc", "/dev", "/sys/fs/cgroup", "/etc/hosts"];

/// The places of file systems that can be written to, but for those.
fn writable(mounts: &str) -> Vec<&str> {
    let given = |place: &str| {
        GIVEN.iter().any(|of| {
            place
                .strip_prefix(of)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(4);
            let (place, options) = (fields.next()?, fields.next()?);
            let readable = options.split(',').any(|option| option == "ro");
            (!readable && !given(place)).then_some(place)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::writable;

    #[test]
    fn a_root_that_can_be_written_to_is_found() {
        let root = "36 35 0:30 / / rw,relatime - overlay overlay rw";
        assert_eq!(writable(root), ["/"]);
        let root = "36 35 0:30 / / ro,relatime - overlay overlay rw";
        let device = "37 36 0:31 / /dev rw,nosuid - tmpfs tmpfs rw";
        assert!(writable(&format!("{root}\n{device}")).is_empty());
    }
}
