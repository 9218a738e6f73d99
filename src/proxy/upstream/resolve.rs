//! From what somebody wrote to addresses: the name service is asked here, and nowhere else.
//!
//! It blocks; it is for loading and for the background, never for the path of a request.

use std::io;
use std::net::{SocketAddr as InetAddr, ToSocketAddrs};

use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::HttpPeer;

/// Why an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// There is nothing to send requests to.
    #[error("upstream `{0}` has no servers; add `servers = [\"10.0.0.1:8080\"]`")]
    NoServers(String),
    /// The text is not `host:port` or `unix:/path`.
    #[error(
        "`{0}` is not a server; write `10.0.0.1:8080`, `name:8080`, `[2001:db8::1]:8080` or `unix:/path`"
    )]
    Server(String),
    /// The name service has no address for it.
    #[error("the address of `{server}` cannot be found ({source}); check the name, or write the address")]
    Resolve {
        /// The server as it was written.
        server: String,
        /// What the name service said.
        source: io::Error,
    },
    /// A socket's path is too long or holds a zero byte.
    #[error("`{0}` cannot be the path of a unix socket; paths end at about 100 bytes")]
    SocketPath(String),
}

/// Every address of a server, in order; at least one.
pub(super) fn resolve(server: &str) -> Result<Vec<SocketAddr>, UpstreamError> {
    if let Some(path) = server.strip_prefix("unix:") {
        return Ok(vec![socket(path)?]);
    }
    let written = || UpstreamError::Server(server.into());
    let (host, port) = server.rsplit_once(':').ok_or_else(written)?;
    let plain = !host.is_empty() && !host.contains(['/', '@', ' ']);
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    if !plain || bare_ipv6 || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(written());
    }
    let failed = |source| UpstreamError::Resolve { server: server.into(), source };
    let mut addresses: Vec<InetAddr> = server.to_socket_addrs().map_err(failed)?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "no addresses")));
    }
    Ok(addresses.into_iter().map(SocketAddr::Inet).collect())
}

/// Whether the name service is needed to reach a server.
pub(super) fn is_name(server: &str) -> bool {
    !server.starts_with("unix:") && server.parse::<InetAddr>().is_err()
}

fn socket(path: &str) -> Result<SocketAddr, UpstreamError> {
    let refused = || UpstreamError::SocketPath(path.into());
    if path.is_empty() {
        return Err(refused());
    }
    let peer = HttpPeer::new_uds(path, false, String::new()).map_err(|_| refused())?;
    Ok(peer._address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_server_is_refused_by_its_own_words() {
        for wrong in ["10.0.0.1", "http://a:80", "2001:db8::1:80", ":80", "a:0", "a:99999", "unix:"] {
            let told = resolve(wrong).unwrap_err().to_string();
            assert!(told.contains(wrong.trim_start_matches("unix:")), "{told}");
        }
        let long = format!("unix:/{}", "x".repeat(200));
        assert!(matches!(resolve(&long), Err(UpstreamError::SocketPath(_))));
    }

    #[test]
    fn addresses_and_sockets_need_no_name_service() {
        for server in ["127.0.0.1:80", "[2001:db8::1]:80", "unix:/run/app.sock"] {
            assert_eq!((resolve(server).unwrap().len(), is_name(server)), (1, false), "{server}");
        }
        assert!(is_name("localhost:80"));
    }

    #[test]
    fn a_name_that_does_not_exist_is_named() {
        let told = resolve("nowhere.invalid:80").unwrap_err().to_string();
        assert!(told.starts_with("the address of `nowhere.invalid:80` cannot be found"), "{told}");
    }
}
