//! What the system holds for connections by TCP, of all programs together: no process has it in its memory.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// Somebody who looks again and again how much it is.
#[derive(Debug)]
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    /// Finds the most that there was.
    most: Option<JoinHandle<Option<u64>>>,
}

/// How often.
const LOOK: Duration = Duration::from_millis(50);

/// The bytes that there are; only Linux can tell.
pub(crate) fn held() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let pages: u64 = line.split_once(" mem ")?.1.split_ascii_whitespace().next()?.parse().ok()?;
    let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    Some(pages * page)
}

impl Watch {
    /// Begins to look.
    pub(crate) fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let most = thread::spawn(move || {
            let mut most = held()?;
            while !told.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
                most = most.max(held()?);
            }
            Some(most)
        });
        Self { over, most: Some(most) }
    }

    /// The most that there was.
    pub(crate) fn end(mut self) -> Option<u64> {
        self.over.store(true, Ordering::Relaxed);
        self.most.take()?.join().ok()?
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
