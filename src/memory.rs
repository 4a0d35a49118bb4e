//! How much memory the steps of a run may have.

use std::fs;
use std::path::{Path, PathBuf};

/// The bytes that this process may still use without anybody's being swapped out or killed: what the system has
/// available, within what the control groups around this process leave. `None` where the system does not say.
pub fn available() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok();
    let system = system
        .as_deref()
        .and_then(|text| field(text, "MemAvailable:"));
    let system = system.and_then(|kibibytes| kibibytes.checked_mul(1024));
    let groups = groups(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    groups
        .iter()
        .filter_map(|group| left_in(group))
        .chain(system)
        .min()
}

/// The folders of the control groups (version 2) that hold this process, from the innermost out.
fn groups(list: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let own = list.lines().find_map(|line| line.strip_prefix("0::/"));
    let Some(own) = own else {
        return Vec::new();
    };
    let own = root.join(own);
    let around = own
        .ancestors()
        .take_while(|folder| folder.starts_with(root));
    around.map(Path::to_owned).collect()
}

/// What a control group leaves; file pages that it could drop at once do not count as used. `None` without a
/// limit.
fn left_in(group: &Path) -> Option<u64> {
    let number = |file: &str| -> Option<u64> {
        fs::read_to_string(group.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let limit = number("memory.max")?;
    let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let droppable = field(&statistics, "inactive_file").unwrap_or(0);
    let used = number("memory.current")?.saturating_sub(droppable);
    Some(limit.saturating_sub(used))
}

/// The number behind a word at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_counted_from_the_inside_out() {
        assert_eq!(
            groups("1:cpu:/x\n0::/user.slice/app\n"),
            [
                "/sys/fs/cgroup/user.slice/app",
                "/sys/fs/cgroup/user.slice",
                "/sys/fs/cgroup"
            ]
            .map(PathBuf::from)
        );
        assert!(groups("1:memory:/docker/abc\n").is_empty());
    }

    #[test]
    fn a_group_leaves_its_limit_less_what_cannot_be_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        write("memory.max", "1000\n");
        write("memory.current", "600\n");
        assert_eq!(left_in(folder.path()), Some(400));
        write("memory.stat", "anon 300\ninactive_file 250\n");
        assert_eq!(left_in(folder.path()), Some(650));
        write("memory.max", "max\n");
        assert_eq!(left_in(folder.path()), None);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}
