//! What a program uses: CPU time and memory of a process and of those that it started.
//!
//! From the system's own accounting; what only Linux can tell is absent elsewhere, never guessed.

use std::time::Duration;

use crate::machine::cpu_time;

/// A process and its descendants, as they were when it was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Tree(Vec<u32>);

/// CPU time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// In the program itself.
    pub(crate) user: Duration,
    /// In the system, on its behalf.
    pub(crate) system: Duration,
}

/// What a tree had used at some moment. The system tells the sum exactly, and its parts in clock ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    sum: Duration,
    user_ticks: u64,
    system_ticks: u64,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// The most that there ever was.
    pub(crate) peak: u64,
    /// What there is.
    pub(crate) now: u64,
}

impl Tree {
    /// Looks for the descendants of a process.
    pub(crate) fn of(root: u32) -> Self {
        let folder = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let processes = folder.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let pairs: Vec<(u32, u32)> =
            processes.filter_map(|pid| Some((pid, stat(pid, PARENT)?.try_into().ok()?))).collect();
        let mut tree = vec![root];
        let mut looked_at = 0;
        while let Some(parent) = tree.get(looked_at).copied() {
            tree.extend(pairs.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            looked_at += 1;
        }
        Self(tree)
    }

    /// The ids of its processes.
    pub(crate) fn pids(&self) -> &[u32] {
        &self.0
    }

    /// What it has used since it was started.
    pub(crate) fn used(&self) -> Option<Used> {
        let all = |field| self.0.iter().map(|pid| stat(*pid, field)).sum::<Option<u64>>();
        let sum = self.0.iter().map(|pid| cpu_time(*pid)).sum::<Option<Duration>>()?;
        Some(Used { sum, user_ticks: all(USER)?, system_ticks: all(SYSTEM)? })
    }

    /// The memory of its largest process: a master shares nearly all of its memory with its worker, and would
    /// be counted twice.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let all = self.0.iter().filter_map(|pid| memory(*pid));
        all.max_by_key(|memory| memory.peak)
    }
}

impl Used {
    /// What was used between then and now.
    pub(crate) fn since(self, before: Self) -> Cpu {
        let sum = self.sum.saturating_sub(before.sum);
        let user = self.user_ticks.saturating_sub(before.user_ticks);
        let system = self.system_ticks.saturating_sub(before.system_ticks);
        let user = sum.mul_f64(user as f64 / (user + system).max(1) as f64);
        Cpu { user, system: sum - user.min(sum) }
    }
}

impl Cpu {
    /// All of it.
    pub(crate) fn sum(self) -> Duration {
        self.user + self.system
    }
}

/// Fields of `/proc/PID/stat`, counted from behind the name.
const PARENT: usize = 1;
const USER: usize = 11;
const SYSTEM: usize = 12;

fn stat(pid: u32, field: usize) -> Option<u64> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // A name may hold anything, but nothing behind it does.
    line.rsplit_once(')')?.1.split_ascii_whitespace().nth(field)?.parse().ok()
}

fn memory(pid: u32) -> Option<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    };
    Some(Memory { peak: bytes("VmHWM:")?, now: bytes("VmRSS:")? })
}

/// CPU time of the threads of a process whose names begin like that, to the nanosecond.
pub(crate) fn of_threads(pid: u32, names: &[&str]) -> Option<Duration> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.filter_map(Result::ok);
    let used = tasks.filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let wanted = names.iter().any(|wanted| name.starts_with(wanted));
        let spent = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let spent = spent.split_ascii_whitespace().next()?.parse().ok()?;
        wanted.then_some(Duration::from_nanos(spent))
    });
    Some(used.sum())
}
