//! The attackers, in a process of their own: so many at once, each with another connection whenever its last one was ended,
//! until they are told to go.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::time::sleep;

use crate::attacks::Attack;
use crate::certificate::{self, HOST};
use crate::error::LoadError;
use crate::machine;
use crate::process;
use crate::target::Target;

/// The first argument of a process that attacks.
pub(crate) const ROLE: &str = "as-attacker";

/// Attackers at work. They are ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Attackers {
    process: Child,
    come: Arc<AtomicBool>,
    /// Hears how many connections they made.
    made: Option<JoinHandle<std::io::Result<u64>>>,
}

/// Whoever could not even connect waits so long.
const AGAIN: Duration = Duration::from_millis(20);
/// In a crowd they come so many at a time, and the next ones after a moment.
const TOGETHER: usize = 50;
const APART: Duration = Duration::from_millis(2);

impl Attackers {
    /// Lets them loose, in a process that runs when nobody else wants to.
    pub(crate) fn start(
        attack: Attack,
        one_in: usize,
        [clear, secure]: [SocketAddr; 2],
    ) -> Result<Self, LoadError> {
        let this = process::this_program(ROLE)?;
        let mut command = lowly();
        command.arg(this.get_program()).args(this.get_args());
        let attackers = attack.attackers().div_ceil(one_in);
        command.args([attack.as_str(), &attackers.to_string(), &clear.to_string(), &secure.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().map_err(LoadError::io("start the attackers"))?;
        let stdout = process.stdout.take();
        let come = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&come);
        let made = thread::spawn(move || {
            let mut lines = stdout.map(BufReader::new).into_iter().flat_map(BufRead::lines);
            let _here = lines.next().transpose()?;
            told.store(true, Ordering::Relaxed);
            let made = lines.next().transpose()?.unwrap_or_default();
            made.parse().map_err(std::io::Error::other)
        });
        Ok(Self { process, come, made: Some(made) })
    }

    /// Whether all of them have come.
    pub(crate) fn have_come(&self) -> bool {
        self.come.load(Ordering::Relaxed)
    }

    /// Tells them to go; how many connections they made.
    pub(crate) fn go(mut self) -> Result<u64, LoadError> {
        let failed = || LoadError::io("hear from the attackers");
        // The end of what they read.
        drop(self.process.stdin.take());
        self.process.wait().map_err(failed())?;
        let made = self.made.take().and_then(|made| made.join().ok());
        made.unwrap_or_else(|| Err(std::io::Error::other("a panic"))).map_err(failed())
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        // They may have ended already.
        let _ = (self.process.kill(), self.process.wait());
    }
}

/// What starts a program that gets what time others leave: Linux has a class of its own for that.
fn lowly() -> Command {
    let chrt = || {
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]);
        command
    };
    if chrt().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return chrt();
    }
    let mut command = Command::new("nice");
    command.args(["-n", "19"]);
    command
}

/// Attacks until the standard input ends. The arguments are the attack, how many attack at once, whom, and whom by TLS.
pub(crate) fn run(arguments: &[String]) -> Result<(), LoadError> {
    machine::die_with_parent()?;
    let unknown = || LoadError::Role(arguments.join(" "));
    let [name, attackers, clear, secure] = arguments else { return Err(unknown()) };
    let attack = Attack::ALL.into_iter().find(|attack| attack.as_str() == name).ok_or_else(unknown)?;
    let attackers: usize = attackers.parse().map_err(|_| unknown())?;
    let [clear, secure] = process::addresses(&[clear.clone(), secure.clone()])?;
    let (hello, made) = (hello()?, AtomicU64::new(0));
    let target = Arc::new(Target { clear, secure, hello, made });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(LoadError::io("attack"))?;
    let all = async {
        for number in 0..attackers {
            tokio::spawn(again_and_again(attack, Arc::clone(&target), number));
            if number % TOGETHER == TOGETHER - 1 {
                sleep(APART).await;
            }
        }
        while target.made.load(Ordering::Relaxed) < attackers as u64 {
            sleep(AGAIN).await;
        }
        say("all have come")
    };
    let attacking = async {
        all.await?;
        told_to_go().await.map_err(LoadError::io("hear when to go"))
    };
    runtime.block_on(attacking)?;
    runtime.shutdown_background();
    say(&target.made.load(Ordering::Relaxed).to_string())
}

fn say(what: &str) -> Result<(), LoadError> {
    writeln!(std::io::stdout(), "{what}").map_err(LoadError::io("say what was done"))
}

/// Resolves at the end of the standard input.
async fn told_to_go() -> std::io::Result<()> {
    let read = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()).map(drop));
    read.await.map_err(std::io::Error::other)?
}

async fn again_and_again(attack: Attack, target: Arc<Target>, number: usize) {
    loop {
        let before = target.made.load(Ordering::Relaxed);
        if attack.once(&target, number).await.is_err() && target.made.load(Ordering::Relaxed) == before {
            sleep(AGAIN).await;
        }
        tokio::task::yield_now().await;
    }
}

/// What a client of TLS sends first.
fn hello() -> Result<Vec<u8>, LoadError> {
    let failed = || LoadError::io("say hello");
    let name = ServerName::try_from(HOST).map_err(std::io::Error::other).map_err(failed())?;
    let client = ClientConnection::new(Arc::new(certificate::client("http/1.1")?), name);
    let mut client = client.map_err(std::io::Error::other).map_err(failed())?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello).map_err(failed())?;
    Ok(hello)
}
