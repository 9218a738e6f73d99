//! TLS toward clients: one configuration at a time, swapped as a whole when certificates are loaded anew.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::ServerConnection;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::transport::Transport;
use crate::facts::tls::{TlsSession, TlsVersion};

/// How TLS is spoken at one entrance.
pub struct Tls(ArcSwap<ServerConfig>);

impl Tls {
    /// Speaks it as `config` says.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(ArcSwap::new(config))
    }

    /// Speaks it as `config` says from the next handshake on. Connections that are open stay as they are.
    pub fn change(&self, config: Arc<ServerConfig>) {
        self.0.store(config);
    }

    /// Makes a TLS session of a connection.
    pub(super) async fn shake_hands(
        &self,
        transport: Transport,
    ) -> io::Result<(TlsStream<Transport>, TlsSession)> {
        let acceptor = TlsAcceptor::from(self.0.load_full());
        let stream = acceptor.accept(transport).await?;
        let session = session(stream.get_ref().1);
        Ok((stream, session))
    }
}

/// What is known after the handshake.
fn session(connection: &ServerConnection) -> TlsSession {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        Some(_) | None => TlsVersion::Tls13,
    };
    let alpn = connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    TlsSession {
        version,
        alpn: alpn.unwrap_or_default().into(),
        sni: connection.server_name().unwrap_or_default().to_ascii_lowercase().into(),
        ja4: Box::default(),
        client: Box::default(),
    }
}
