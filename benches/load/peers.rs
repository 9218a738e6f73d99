//! Other programmable proxies with the reference policy, the same database and a log of their own.
//!
//! They take part only if they are installed; nothing is ever installed here. Their configurations are templates
//! beside the gate's, in `benches/load/reference`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use memchr::memmem;

use crate::certificate;
use crate::contestant::{Contestant, Seat, Work};
use crate::database::Database;
use crate::error::LoadError;
use crate::gate;

/// nginx, with the policy in Lua and the database in its GeoIP2 module.
pub(crate) struct Nginx {
    database: Rc<Database>,
    tls: bool,
}

/// HAProxy, with the policy in its rules and the database as a map.
pub(crate) struct HaProxy(pub(crate) Rc<Database>);

const SCORE: &str = "x-risk-score";
/// Begins every line of their logs, and nothing else that they say.
const LINE: &[u8] = b"{\"time\":";

/// The modules that the template loads.
const MODULES: [&str; 3] = ["ndk_http_module.so", "ngx_http_lua_module.so", "ngx_http_geoip2_module.so"];

/// How it serves by TLS, too.
const BY_TLS: &str = "listen @SECURE@ ssl http2 backlog=4096;
        ssl_certificate @CERT@;
        ssl_certificate_key @KEY@;
        ssl_protocols TLSv1.3;";

impl Nginx {
    /// In the clear.
    pub(crate) fn new(database: Rc<Database>) -> Self {
        Self { database, tls: false }
    }

    /// By TLS as well.
    pub(crate) fn by_tls(database: Rc<Database>) -> Self {
        Self { database, tls: true }
    }

    fn modules(program: &Path) -> PathBuf {
        // What it was built with is written to standard error.
        let asked = Command::new(program).arg("-V").stdin(Stdio::null()).output();
        let said =
            asked.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
        let path = said.split_ascii_whitespace().find_map(|word| word.strip_prefix("--modules-path="));
        path.unwrap_or("/usr/lib/nginx/modules").into()
    }
}

impl Contestant for Nginx {
    fn name(&self) -> &str {
        "nginx + Lua + GeoIP2"
    }

    fn missing(&self) -> Option<&'static str> {
        let complete = installed("nginx").is_some_and(|program| {
            let modules = Self::modules(&program);
            MODULES.iter().all(|module| modules.join(module).is_file())
        });
        (!complete).then_some("apt install nginx libnginx-mod-http-lua libnginx-mod-http-geoip2")
    }

    fn version(&self) -> Option<String> {
        // nginx version: nginx/1.22.1
        said("nginx")?.split_ascii_whitespace().nth(2).map(str::to_owned)
    }

    fn command(&self, seat: &Seat<'_>) -> Result<Command, LoadError> {
        let program = installed("nginx").unwrap_or_else(|| "nginx".into());
        let modules = Self::modules(&program).display().to_string();
        write(seat, "country.mmdb", self.database.unpacked())?;
        let (secure, mut tls) = (seat.secure.to_string(), String::new());
        if self.tls {
            certificate::write(seat.folder)?;
            let [cert, key] = certificate::paths(seat.folder).map(|path| path.display().to_string());
            tls = BY_TLS.replace("@SECURE@", &secure).replace("@CERT@", &cert).replace("@KEY@", &key);
        }
        let more = [("@MODULES@", modules.as_str()), ("@TLS@", &tls)];
        let configuration = configuration(seat, "nginx.conf", &more)?;
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p"]).arg(seat.folder).arg("-c").arg(configuration);
        Ok(command)
    }

    fn work(&self) -> Work {
        Work::Reference { score: SCORE }
    }

    fn recorded(&self, folder: &Path) -> Option<u64> {
        lines(&folder.join("decisions.jsonl"))
    }
}

impl Contestant for HaProxy {
    fn name(&self) -> &str {
        "HAProxy + map + stick tables"
    }

    fn missing(&self) -> Option<&'static str> {
        installed("haproxy").is_none().then_some("apt install haproxy")
    }

    fn version(&self) -> Option<String> {
        // HAProxy version 2.6.12-1 2025/10/03 - https://haproxy.org/
        said("haproxy")?.split_ascii_whitespace().nth(2).map(|version| format!("HAProxy {version}"))
    }

    fn command(&self, seat: &Seat<'_>) -> Result<Command, LoadError> {
        write(seat, "country.map", self.0.map()?.as_bytes())?;
        let configuration = configuration(seat, "haproxy.cfg", &[])?;
        let mut command = Command::new(installed("haproxy").unwrap_or_else(|| "haproxy".into()));
        command.args(["-db", "-f"]).arg(configuration);
        Ok(command)
    }

    fn work(&self) -> Work {
        Work::Reference { score: SCORE }
    }

    /// Its standard output is its log.
    fn recorded(&self, folder: &Path) -> Option<u64> {
        lines(&folder.join(crate::process::OUTPUT))
    }
}

/// A template from the repository, filled in and put into the seat's folder.
fn configuration(seat: &Seat<'_>, name: &str, more: &[(&str, &str)]) -> Result<PathBuf, LoadError> {
    let template = gate::repository().join("benches/load/reference").join(name);
    let reading = LoadError::io(format!("read `{}`", template.display()));
    let mut text = fs::read_to_string(&template).map_err(reading)?;
    let (listen, origin) = (seat.listen.to_string(), seat.origin.to_string());
    let folder = seat.folder.display().to_string();
    let places = [("@LISTEN@", listen.as_str()), ("@ORIGIN@", &origin), ("@FOLDER@", &folder)];
    for (place, value) in places.iter().chain(more) {
        text = text.replace(place, value);
    }
    write(seat, name, text.as_bytes())
}

fn write(seat: &Seat<'_>, name: &str, bytes: &[u8]) -> Result<PathBuf, LoadError> {
    let path = seat.folder.join(name);
    fs::write(&path, bytes).map_err(LoadError::io(format!("write `{}`", path.display())))?;
    Ok(path)
}

/// Where a program is. Servers are often kept where the search path of users does not lead.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// What a program says of its version.
fn said(program: &str) -> Option<String> {
    let asked = Command::new(installed(program)?).arg("-v").stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&[asked.stdout, asked.stderr].concat()).into_owned())
}

/// How many decisions a log holds.
fn lines(log: &Path) -> Option<u64> {
    let log = fs::read(log).ok()?;
    Some(memmem::find_iter(&log, LINE).count() as u64)
}
