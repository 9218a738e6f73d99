//! What the system may hold for connections, besides what the gate holds: buffers of sockets, as configured and as Linux
//! grants them. It gives no more than `net.core.rmem_max` and `wmem_max` allow to be asked for, twice each, and has an end for
//! all connections of the machine together (`net.ipv4.tcp_mem`).

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use super::layout::{Columns, grouped, size};
use crate::config::{Config, Origin};
use crate::proxy::server::Buffer;

/// What Linux says of itself; all of it may be hidden from this process, or be another system.
#[derive(Clone, Copy, Debug, Default)]
struct System {
    /// How much may be asked for, to send and to receive.
    asked: [Option<u64>; 2],
    /// How far both grow by themselves.
    grown: [Option<u64>; 2],
    /// How much all connections of the machine may hold.
    all: Option<u64>,
}

/// How many bytes there may be, if anybody can say, and which setting of the system has the last word on it.
type Granted = (Option<u64>, &'static str);

/// A way that bytes take through a socket.
#[derive(Clone, Copy)]
enum Way {
    Send,
    Receive,
}

/// What the system may hold, line by line.
pub(super) fn memory(config: &Config) -> String {
    System::read().memory(config)
}

impl System {
    fn read() -> Self {
        let last = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?;
            text.split_ascii_whitespace().next_back()?.parse::<u64>().ok()
        };
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|page| u64::try_from(page).ok());
        Self {
            asked: [last("core/wmem_max"), last("core/rmem_max")],
            grown: [last("ipv4/tcp_wmem"), last("ipv4/tcp_rmem")],
            all: last("ipv4/tcp_mem").zip(page).map(|(pages, page)| pages.saturating_mul(page)),
        }
    }

    fn memory(self, config: &Config) -> String {
        let server = &config.server;
        let clients = server.max_connections as u64;
        let by_http2 = config.listeners.iter().any(|listener| listener.http2);
        let requests = clients + if by_http2 { server.max_requests as u64 } else { 0 };
        let rows = [
            ("what clients have not taken", clients, Some(self.granted(server.buffers.send, Way::Send))),
            (
                "what clients have sent in advance",
                clients,
                Some(self.granted(server.buffers.receive, Way::Receive)),
            ),
            ("bodies that servers have not taken", requests, self.of_origins(config, Way::Send)),
            ("answers that wait for their clients", requests, self.of_origins(config, Way::Receive)),
        ];
        let mut lines: Vec<(String, String)> = Vec::new();
        for (what, number, granted) in rows {
            let Some((each, why)) = granted else { continue };
            let Some(each) = each else {
                lines.push(("?".to_owned(), format!("{what}: as much as the system likes")));
                continue;
            };
            let what = format!("{what}, {} of {}{why}", grouped(number), size(each));
            lines.push((size(number.saturating_mul(each)), what));
        }
        if let Some(all) = self.all {
            lines.push((size(all), "all of it and of other programs, by `net.ipv4.tcp_mem`".to_owned()));
        }
        let width = lines.iter().map(|(size, _)| size.len()).max().unwrap_or(0);
        let mut columns = Columns::default();
        for (size, what) in &lines {
            columns.row([&format!("{size:>width$}"), what]);
        }
        columns.lines(2)
    }

    /// What the largest buffer of all upstreams comes to; `None` if all are built in.
    fn of_origins(self, config: &Config, way: Way) -> Option<Granted> {
        let servers = config.upstreams.values().filter(|upstream| upstream.origin != Origin::Builtin);
        let buffers = servers.map(|upstream| upstream.settings.transport.buffers);
        let granted = buffers.map(|buffers| match way {
            Way::Send => self.granted(buffers.send, way),
            Way::Receive => self.granted(buffers.receive, way),
        });
        granted.max_by_key(|(bytes, _)| bytes.unwrap_or(u64::MAX))
    }

    /// What a buffer comes to.
    fn granted(self, buffer: Buffer, way: Way) -> Granted {
        let ([send, receive], [sent, received]) = (self.asked, self.grown);
        let (most, ceiling, grown, why) = match way {
            Way::Send => (send, ", by `net.core.wmem_max`", sent, ", by `net.ipv4.tcp_wmem`"),
            Way::Receive => (receive, ", by `net.core.rmem_max`", received, ", by `net.ipv4.tcp_rmem`"),
        };
        match (buffer.asked().map(|asked| asked as u64), most) {
            (Some(asked), Some(most)) if most < asked => (Some(most.saturating_mul(2)), ceiling),
            (Some(asked), _) => (Some(asked.saturating_mul(2)), ""),
            (None, _) => (grown, why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_grants_what_is_asked_for_up_to_its_own_bound() {
        let old = System { asked: [Some(212_992), None], grown: [Some(4 << 20), Some(6 << 20)], all: None };
        let mib = Buffer::AtMost(1 << 20);
        assert_eq!(old.granted(mib, Way::Send), (Some(425_984), ", by `net.core.wmem_max`"));
        assert_eq!(old.granted(Buffer::AtMost(64 << 10), Way::Send), (Some(64 << 10), ""));
        assert_eq!(old.granted(mib, Way::Receive), (Some(1 << 20), ""));
        assert_eq!(old.granted(Buffer::System, Way::Send), (Some(4 << 20), ", by `net.ipv4.tcp_wmem`"));
        assert_eq!(old.granted(Buffer::System, Way::Receive), (Some(6 << 20), ", by `net.ipv4.tcp_rmem`"));
        assert_eq!(System::default().granted(Buffer::System, Way::Send).0, None);
    }
}
