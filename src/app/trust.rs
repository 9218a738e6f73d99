//! The certificate files of upstreams: which are read, and what is made of them.
//!
//! They are read with all other sources of a generation, so that a changed one is noticed, and a broken one refused.

use std::path::Path;

use crate::config::{Config, Upstream, UpstreamTls};
use crate::facts::problem::Problem;
use crate::proxy::upstream::{Authorities, ClientIdentity, PemError, Settings, Tls, Transport};
use crate::reload::sources::{Data, DataKind, DataPath, Sources};

/// The files that upstreams name, for [`source_paths`](super::sources::source_paths).
pub(super) fn files(config: &Config) -> impl Iterator<Item = DataPath> {
    let named = config.upstreams.iter().filter_map(|(name, upstream)| Some((name, upstream.tls.as_ref()?)));
    named.flat_map(|(name, tls)| {
        let identity = tls.identity.as_ref();
        let files = [
            ("ca", tls.ca.as_ref()),
            ("cert", identity.map(|(cert, _)| cert)),
            ("key", identity.map(|(_, key)| key)),
        ];
        files.into_iter().filter_map(move |(what, path)| {
            Some(DataPath { role: role(name, what), kind: DataKind::Certificate, path: path?.clone() })
        })
    })
}

/// How an upstream treats its servers, certificates included.
pub(super) fn settings(name: &str, upstream: &Upstream, sources: &Sources) -> Result<Settings, Problem> {
    let tls = upstream.tls.as_ref().map(|tls| read(name, tls, sources)).transpose()?;
    let transport = Transport { tls, ..upstream.settings.transport.clone() };
    Ok(Settings { transport, ..upstream.settings.clone() })
}

fn read(name: &str, tls: &UpstreamTls, sources: &Sources) -> Result<Tls, Problem> {
    // What the configuration names was read, or there are no sources.
    let file = |what| sources.role(&role(name, what));
    let refused = |data: &Data| {
        let path = data.path().to_owned();
        move |error: PemError| refuse(&path, name, &error)
    };
    let authorities = file("ca").map(|ca| Authorities::from_pem(ca.bytes()).map_err(refused(ca)));
    let identity = file("cert").zip(file("key")).map(|(cert, key)| {
        let blame = |error: &PemError| match error {
            PemError::NoCertificate | PemError::Broken(_) => cert.path().to_owned(),
            PemError::NoKey | PemError::Unfit(_) => key.path().to_owned(),
        };
        let made = ClientIdentity::from_pem(cert.bytes(), key.bytes());
        made.map_err(|error| refuse(&blame(&error), name, &error))
    });
    Ok(Tls {
        verify: tls.verify,
        name: tls.sni.clone(),
        authorities: authorities.transpose()?,
        identity: identity.transpose()?,
    })
}

fn refuse(path: &Path, upstream: &str, error: &PemError) -> Problem {
    Problem::error(path, format!("upstream `{upstream}` cannot use this file: {error}"))
}

fn role(upstream: &str, what: &str) -> String {
    format!("upstream {upstream} {what}")
}
