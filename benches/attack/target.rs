//! What is attacked, and from where: many addresses of the loopback interface, in several networks, so that no bound for
//! one client protects the gate from all.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

/// The gate, as attackers see it, and what they count.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where it speaks HTTP/1.1 and HTTP/2 in the clear.
    pub(crate) clear: SocketAddr,
    /// Where it speaks TLS.
    pub(crate) secure: SocketAddr,
    /// The first bytes of a client of TLS.
    pub(crate) hello: Vec<u8>,
    /// Connections that were made.
    pub(crate) made: AtomicU64,
}

/// Networks that attackers come from. The well-behaved client has another.
const NETWORKS: usize = 8;
const ADDRESSES: usize = 200;
/// What the kernel keeps for a reader that does not read.
const SMALL: u32 = 8 * 1024;

impl Target {
    /// A connection from the address of this attacker.
    pub(crate) async fn connect(&self, number: usize) -> io::Result<TcpStream> {
        self.open(number, self.clear, TcpSocket::new_v4()?).await
    }

    /// A connection whose kernel takes little that nobody reads.
    pub(crate) async fn connect_small(&self, number: usize) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(SMALL)?;
        self.open(number, self.clear, socket).await
    }

    /// A connection to where TLS is spoken.
    pub(crate) async fn connect_secure(&self, number: usize) -> io::Result<TcpStream> {
        self.open(number, self.secure, TcpSocket::new_v4()?).await
    }

    async fn open(&self, number: usize, to: SocketAddr, socket: TcpSocket) -> io::Result<TcpStream> {
        let octet = |number: usize| u8::try_from(number + 1).unwrap_or(u8::MAX);
        let (network, address) = (octet(number % NETWORKS), octet(number / NETWORKS % ADDRESSES));
        socket.bind((Ipv4Addr::new(127, 0, network, address), 0).into())?;
        let stream = socket.connect(to).await?;
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(stream)
    }
}

/// Takes what comes until the gate ends the connection.
pub(crate) async fn drain(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
