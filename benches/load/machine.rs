//! The machine: its cores, what processes cost on it, and how to name it in a report.
//!
//! What only Linux can tell is absent elsewhere, never guessed.

use std::time::Duration;

use crate::error::LoadError;

/// Two cores: one for the proxy, one for origin and generator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// Where the contestant runs.
    pub(crate) proxy: usize,
    /// Where everything else runs.
    pub(crate) load: usize,
}

/// Two cores that this process may use and that do not share their hardware, if there are and can be chosen.
pub(crate) fn two_cores() -> Option<Cores> {
    let allowed = allowed_cores();
    let load = *allowed.first()?;
    let other = |core: &&usize| **core != load && !same_hardware(**core, load);
    let proxy = allowed.iter().find(other).or_else(|| allowed.get(1))?;
    Some(Cores { proxy: *proxy, load })
}

/// CPU time of all threads of a process since its start.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    system::cpu_time(i32::try_from(pid).ok()?)
}

/// The most memory that a process ever had in use, in bytes.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Keeps the calling thread, and whatever it starts, on one core.
pub(crate) fn pin_to(core: usize) -> Result<(), LoadError> {
    system::pin_to(core).map_err(LoadError::io(format!("use core {core}")))
}

/// Ends the calling process when the thread that started it ends.
pub(crate) fn die_with_parent() -> Result<(), LoadError> {
    system::die_with_parent().map_err(LoadError::io("follow the parent process"))
}

/// The processor, the cores there are and the system.
pub(crate) fn description() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, {} {}", std::env::consts::OS, release.trim()).trim_end().to_owned()
}

fn allowed_cores() -> Vec<usize> {
    system::allowed_cores().unwrap_or_default()
}

/// Whether two cores are threads of one.
fn same_hardware(one: usize, other: usize) -> bool {
    let topology = |core: usize, what: &str| {
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu{core}/topology/{what}")).ok()
    };
    ["core_id", "physical_package_id"].iter().all(|what| {
        let (one, other) = (topology(one, what), topology(other, what));
        one.is_some() && one == other
    })
}

#[cfg(target_os = "linux")]
mod system {
    use std::time::Duration;

    use nix::Result;
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::sys::prctl::set_pdeathsig;
    use nix::sys::signal::Signal;
    use nix::time::ClockId;
    use nix::unistd::Pid;

    const THIS_THREAD: Pid = Pid::from_raw(0);

    pub(super) fn allowed_cores() -> Result<Vec<usize>> {
        let set = sched_getaffinity(THIS_THREAD)?;
        Ok((0..CpuSet::count()).filter(|core| set.is_set(*core) == Ok(true)).collect())
    }

    pub(super) fn pin_to(core: usize) -> Result<()> {
        let mut set = CpuSet::new();
        set.set(core)?;
        sched_setaffinity(THIS_THREAD, &set)
    }

    pub(super) fn cpu_time(pid: i32) -> Option<Duration> {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?;
        clock.now().ok().map(Duration::from)
    }

    pub(super) fn die_with_parent() -> Result<()> {
        set_pdeathsig(Signal::SIGKILL)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io::{Error, ErrorKind, Result};
    use std::time::Duration;

    pub(super) fn allowed_cores() -> Result<Vec<usize>> {
        Ok(Vec::new())
    }

    pub(super) fn pin_to(_: usize) -> Result<()> {
        Err(Error::from(ErrorKind::Unsupported))
    }

    pub(super) fn cpu_time(_: i32) -> Option<Duration> {
        None
    }

    pub(super) fn die_with_parent() -> Result<()> {
        Ok(())
    }
}
