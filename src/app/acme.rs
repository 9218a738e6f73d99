//! From configuration to orders: which certificates are wanted from an authority, and how it is asked for them.

use crate::config::{Certificate, Config};
use crate::proxy::acme::{Orders, Settings, Store, Wanted};

/// All that is wanted, and from whom.
pub(super) fn orders(config: &Config) -> Orders {
    let acme = &config.acme;
    let settings = Settings {
        directory: acme.directory.clone(),
        contact: acme.contact.clone(),
        store: store(config),
        challenge: acme.challenge,
        renew_before: acme.renew_before,
        ca: acme.ca.clone(),
    };
    Orders { settings, wanted: wanted(config) }
}

/// The certificates that are wanted from an authority.
pub(crate) fn wanted(config: &Config) -> Vec<Wanted> {
    let wanted = |(name, certificate): (&String, &Certificate)| match certificate {
        Certificate::Acme(hosts) => Some(Wanted { name: name.clone(), hosts: hosts.clone() }),
        Certificate::Files(_) => None,
    };
    config.certificates.iter().filter_map(wanted).collect()
}

/// Where they are kept.
pub(crate) fn store(config: &Config) -> Store {
    Store::new(&config.acme.store)
}
