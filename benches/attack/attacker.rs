//! The attackers, in a process of their own: so many at once, each with another connection whenever its last one was ended,
//! until the time is over.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::time::{sleep, timeout};

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
pub(crate) struct Attackers(Child);

/// Whoever could not even connect waits so long.
const AGAIN: Duration = Duration::from_millis(20);
/// In a crowd they come so many at a time, and the next ones after a moment.
const TOGETHER: usize = 50;
const APART: Duration = Duration::from_millis(2);

impl Attackers {
    /// Lets them loose for so long, in a process that runs when nobody else wants to.
    pub(crate) fn start(
        attack: Attack,
        one_in: usize,
        [clear, secure]: [SocketAddr; 2],
        length: Duration,
    ) -> Result<Self, LoadError> {
        let this = process::this_program(ROLE)?;
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(this.get_program()).args(this.get_args());
        let attackers = attack.attackers().div_ceil(one_in);
        command.args([attack.as_str(), &attackers.to_string(), &clear.to_string(), &secure.to_string()]);
        command.arg(length.as_millis().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(LoadError::io("start the attackers"))
    }

    /// Waits until they have ended, by themselves; how many connections they made.
    pub(crate) fn wait(mut self) -> Result<u64, LoadError> {
        let failed = || LoadError::io("hear from the attackers");
        let mut said = String::new();
        if let Some(mut stdout) = self.0.stdout.take() {
            std::io::Read::read_to_string(&mut stdout, &mut said).map_err(failed())?;
        }
        self.0.wait().map_err(failed())?;
        said.trim().parse().map_err(std::io::Error::other).map_err(failed())
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        // They may have ended already.
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// Attacks. The arguments are the attack, how many attack at once, whom, by TLS too, and for how many milliseconds.
pub(crate) fn run(arguments: &[String]) -> Result<(), LoadError> {
    machine::die_with_parent()?;
    let unknown = || LoadError::Role(arguments.join(" "));
    let [name, attackers, clear, secure, length] = arguments else { return Err(unknown()) };
    let attack = Attack::ALL.into_iter().find(|attack| attack.as_str() == name).ok_or_else(unknown)?;
    let (attackers, length) = attackers.parse().ok().zip(length.parse().ok()).ok_or_else(unknown)?;
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
        std::future::pending::<()>().await;
    };
    // Being over is how it ends.
    let _ = runtime.block_on(async { timeout(Duration::from_millis(length), all).await });
    runtime.shutdown_background();
    let made = target.made.load(Ordering::Relaxed);
    writeln!(std::io::stdout(), "{made}").map_err(LoadError::io("say what was done"))
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
