//! How a gate comes to be there: who runs already, which sockets others have opened, and who the process is to become. All
//! of it is known before the first socket is bound.

use std::sync::Arc;

use super::owner::Owner;
use super::parts::Parts;
use super::sockets::{Offered, Sockets};
use super::upgrade::{Predecessor, UpgradeError};
use crate::clock::Clock;
use crate::config::{Config, Server};
use crate::proxy::door::tls::Tls;
use crate::proxy::origin::EchoOrigin;

/// Makes the parts of a gate, and finds the gate that it takes over from. Call it when all else was found good: a gate that
/// runs is asked for its sockets here.
pub(super) fn settle(
    config: &Config,
    tls: &[Option<Arc<Tls>>],
    sockets: Sockets,
    origin: Option<&EchoOrigin>,
    clock: Clock,
) -> Result<(Parts, Option<Predecessor>), Vec<String>> {
    let owner = Owner::of(&config.server).map_err(|error| vec![error])?;
    let arrived = arrive(&config.server, sockets).map_err(|error| vec![error.to_string()])?;
    let (offered, predecessor) = arrived;
    Ok((Parts::open(config, tls, clock, offered, owner.as_ref(), origin)?, predecessor))
}

/// Sockets that listen already, and the gate that they are taken over from.
fn arrive(server: &Server, sockets: Sockets) -> Result<(Offered, Option<Predecessor>), UpgradeError> {
    let mut offered = match sockets {
        Sockets::Bound => Offered::default(),
        Sockets::Activated | Sockets::TakenOver => Offered::by_systemd(),
    };
    match (&server.upgrade_socket, sockets) {
        (None, Sockets::Bound | Sockets::Activated) => Ok((offered, None)),
        (None, Sockets::TakenOver) => Err(UpgradeError::NoPlace),
        (Some(path), Sockets::Bound | Sockets::Activated) => match Predecessor::find(path)? {
            Some(_) => Err(UpgradeError::Runs(path.clone())),
            None => Ok((offered, None)),
        },
        (Some(path), Sockets::TakenOver) => {
            let mut predecessor = Predecessor::find(path)?;
            match &mut predecessor {
                Some(found) => offered.add(found.sockets()?),
                None => tracing::info!("no gate runs that could be taken over; sockets are bound"),
            }
            Ok((offered, predecessor))
        }
    }
}
