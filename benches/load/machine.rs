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

/// Keeps the calling thread, and whatever it starts, on one core.
pub(crate) fn pin_to(core: usize) -> Result<(), LoadError> {
    system::pin_to(core).map_err(LoadError::io(format!("use core {core}")))
}

/// Asks the calling process to end when the thread that started it ends; it then ends its own processes, too.
pub(crate) fn die_with_parent() -> Result<(), LoadError> {
    system::die_with_parent().map_err(LoadError::io("follow the parent process"))
}

/// What figures were measured on and with.
pub(crate) fn about(cores: Option<Cores>) -> String {
    let pinning = match cores {
        Some(Cores { proxy, load }) => format!("proxy on core {proxy}, origin and load on core {load}"),
        None => "not pinned".into(),
    };
    let versions = ["pingora-proxy", "rhai"].map(|package| format!("{package} {}", locked(package)));
    let profile = if cfg!(debug_assertions) { "without optimisation" } else { "optimised" };
    let (own, versions) = (env!("CARGO_PKG_VERSION"), versions.join(", "));
    format!("Machine: {}; {pinning}.\nVersions: riskgate {own}, {versions}; built {profile}.", description())
}

/// The version of a package that this was built with.
fn locked(package: &str) -> &'static str {
    const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name).skip(1);
    lines.next().and_then(|line| line.split('"').nth(1)).unwrap_or("unknown")
}

/// The processor, the cores there are and the system.
fn description() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    // All there are; this process may have chosen one of them by now.
    let cores = information.lines().filter(|line| line.starts_with("processor")).count().max(1);
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
        set_pdeathsig(Signal::SIGTERM)
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
