//! Processes of the bench: pinned to a core, answering before they are measured, and gone afterwards.
//!
//! Everything is started through a role of this program that takes its core, asks to die with the bench, and then
//! becomes the program that is wanted, under the same process id.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::LoadError;
use crate::machine;

/// The first argument of a process that becomes another one.
pub(crate) const ROLE: &str = "as-launcher";

/// The file in a process's folder that has what it says.
pub(crate) const OUTPUT: &str = "output.txt";

/// How long a process may take to give its first answer, such as a gate that reads its databases.
const TO_ANSWER: Duration = Duration::from_secs(30);
/// How long a process may take to end when it is asked to.
const TO_END: Duration = Duration::from_secs(5);
/// How often somebody looks.
const LOOK: Duration = Duration::from_millis(5);
/// How much of a failed process's output is shown.
const SHOWN: usize = 2_000;

/// A running process. It is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    address: SocketAddr,
    output: PathBuf,
}

impl Process {
    /// Starts `command` on `core` and waits until `address` answers. Its output goes to a file in `folder`.
    pub(crate) fn start(
        name: &str,
        command: &Command,
        core: Option<usize>,
        address: SocketAddr,
        folder: &Path,
    ) -> Result<Self, LoadError> {
        let output = folder.join(OUTPUT);
        let failed = || LoadError::io(format!("start `{name}`"));
        let file = File::create(&output).map_err(failed())?;
        let mut launcher = this_program(ROLE)?;
        launcher.arg(core.map_or("any".into(), |core| core.to_string()));
        launcher.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            launcher.current_dir(folder);
        }
        launcher.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed())?).stderr(file);
        let child = launcher.spawn().map_err(failed())?;
        let mut process = Self { name: name.into(), child, address, output };
        process.wait_for_answer()?;
        Ok(process)
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks it to end, so that it can finish what it writes.
    pub(crate) fn stop(mut self) -> Result<(), LoadError> {
        let ended = self.end().map_err(LoadError::io(format!("stop `{}`", self.name)))?;
        if ended {
            return Ok(());
        }
        Err(LoadError::Lingers { name: self.name.clone(), waited: TO_END, said: self.said() })
    }

    /// Asks it to end, and waits; whether it did.
    fn end(&mut self) -> std::io::Result<bool> {
        if self.child.try_wait()?.is_some() {
            return Ok(true);
        }
        if let Ok(id) = i32::try_from(self.pid()) {
            kill(Pid::from_raw(id), Signal::SIGTERM)?;
        }
        let deadline = Instant::now() + TO_END;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(true);
            }
            sleep(LOOK);
        }
        Ok(false)
    }

    fn wait_for_answer(&mut self) -> Result<(), LoadError> {
        let deadline = Instant::now() + TO_ANSWER;
        loop {
            if answers(self.address) {
                return Ok(());
            }
            let ended = self.child.try_wait().map_err(LoadError::io("look after a process"))?;
            if let Some(status) = ended {
                let (name, status) = (self.name.clone(), status.to_string());
                return Err(LoadError::Ended { name, status, said: self.said() });
            }
            if Instant::now() > deadline {
                let name = self.name.clone();
                return Err(LoadError::Silent { name, waited: TO_ANSWER, said: self.said() });
            }
            sleep(LOOK);
        }
    }

    /// The end of its output.
    fn said(&self) -> String {
        let output = std::fs::read(&self.output).unwrap_or_default();
        let end = output.get(output.len().saturating_sub(SHOWN)..).unwrap_or_default();
        String::from_utf8_lossy(end).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, and there is nobody to tell. Asked first, since only then does it end what it
        // has started itself, such as workers.
        let _ = self.end();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Becomes another program. The arguments are a core or `any`, the program and its arguments.
pub(crate) fn launch(arguments: &[String]) -> Result<(), LoadError> {
    let [core, program, arguments @ ..] = arguments else {
        return Err(LoadError::Role(arguments.join(" ")));
    };
    if let Ok(core) = core.parse() {
        machine::pin_to(core)?;
    }
    machine::die_with_parent()?;
    let error = Command::new(program).args(arguments).exec();
    Err(LoadError::io(format!("run `{program}`"))(error))
}

/// A command that runs this program in another role.
pub(crate) fn this_program(role: &str) -> Result<Command, LoadError> {
    let path = std::env::current_exe().map_err(LoadError::io("find this program"))?;
    let mut command = Command::new(path);
    command.arg(role);
    Ok(command)
}

/// The arguments of a role, if they are just that many addresses.
pub(crate) fn addresses<const N: usize>(arguments: &[String]) -> Result<[SocketAddr; N], LoadError> {
    let addresses = arguments.iter().map(|argument| argument.parse().ok()).collect::<Option<Vec<_>>>();
    let exactly = addresses.and_then(|addresses| addresses.try_into().ok());
    exactly.ok_or_else(|| LoadError::Role(arguments.join(" ")))
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr, LoadError> {
    free_addresses().map(|[address]| address)
}

/// As many addresses that nobody listens on, no two of them the same.
pub(crate) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N], LoadError> {
    // All are held until there are enough, or the same port might be chosen twice.
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        let found = listener.as_ref().map_err(|error| error.kind().into());
        *address = found.and_then(TcpListener::local_addr).map_err(LoadError::io("find a free port"))?;
    }
    Ok(addresses)
}

/// Whether a request gets a 200.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(
            b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0\r\nAccept-Language: en\r\n\r\n",
        )?;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin)?;
        Ok(&begin == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
