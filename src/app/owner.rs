//! Whose process this is once it serves: privileges are dropped after sockets are bound and keys are read, and before the
//! first request. Whatever of that fails, the gate does not start.

use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, getgid, getgroups, setgroups, setresgid, setresuid};

use crate::config::Server;

/// Who the process is to become.
#[derive(Debug)]
pub(super) struct Owner {
    user: String,
    uid: Uid,
    gid: Gid,
}

impl Owner {
    /// Who `[server]` names; `None` if the process stays who it is.
    pub(super) fn of(server: &Server) -> Result<Option<Self>, String> {
        let Some(name) = &server.user else { return Ok(None) };
        let user = User::from_name(name)
            .map_err(|error| format!("`user` in `[server]`: `{name}` cannot be looked up: {error}"))?
            .ok_or_else(|| {
                format!("`user` in `[server]`: there is no user `{name}`; create it, or correct the name")
            })?;
        let gid = match &server.group {
            None => user.gid,
            Some(group) => Group::from_name(group)
                .map_err(|error| format!("`group` in `[server]`: `{group}` cannot be looked up: {error}"))?
                .map(|found| found.gid)
                .ok_or_else(|| {
                    format!(
                        "`group` in `[server]`: there is no group `{group}`; create it, or correct the name"
                    )
                })?,
        };
        if user.uid.is_root() {
            return Err(format!("`user` in `[server]`: `{name}` is the superuser; name another user"));
        }
        let owner = Self { user: name.clone(), uid: user.uid, gid };
        if Uid::effective().is_root() || owner.is_this() {
            return Ok(Some(owner));
        }
        Err(format!(
            "`user` in `[server]`: only root can become `{name}`; start the gate as root or as `{name}`, or remove `user`"
        ))
    }

    /// Becomes that user for good: in all threads, without supplementary groups.
    pub(super) fn become_this(&self) -> Result<(), String> {
        let failed = |error: nix::Error| format!("cannot become user `{}`: {error}", self.user);
        if Uid::effective().is_root() {
            setgroups(&[]).map_err(failed)?;
            setresgid(self.gid, self.gid, self.gid).map_err(failed)?;
            setresuid(self.uid, self.uid, self.uid).map_err(failed)?;
        }
        // Nothing that can go on as root does so because a call that failed said that it had not.
        let back = setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0));
        if self.is_this() && back.is_err() {
            return Ok(());
        }
        Err(format!("the process is still privileged after it became user `{}`", self.user))
    }

    /// Makes a file or folder theirs.
    pub(super) fn give(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }

    /// Their name.
    pub(super) fn name(&self) -> &str {
        &self.user
    }

    /// Whether the process is already theirs and has nothing beyond.
    fn is_this(&self) -> bool {
        let groups = getgroups().unwrap_or_default();
        let none_else = groups.iter().all(|group| *group == self.gid);
        Uid::current() == self.uid && Uid::effective() == self.uid && getgid() == self.gid && none_else
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn owner(keys: &str) -> Result<Option<Owner>, String> {
        let text = format!(
            "[server]\n{keys}\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"origin\"\n\
             [upstream.origin]\nbuiltin = true\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("riskgate.toml");
        std::fs::write(&path, text).unwrap();
        Owner::of(&Config::load(&path).map_err(|_| "not a configuration").unwrap().server)
    }

    #[test]
    fn nobody_is_named_unless_somebody_is() {
        assert!(owner("").unwrap().is_none());
    }

    #[test]
    fn users_and_groups_that_do_not_exist_are_named() {
        let missing = owner("user = \"nobody-of-that-name\"").unwrap_err();
        assert!(missing.contains("there is no user `nobody-of-that-name`"), "{missing}");
        let missing = owner("user = \"nobody\"\ngroup = \"none-of-that-name\"").unwrap_err();
        assert!(missing.contains("there is no group `none-of-that-name`"), "{missing}");
    }

    #[test]
    fn the_superuser_is_nobody_to_become() {
        assert!(owner("user = \"root\"").unwrap_err().contains("is the superuser"));
    }

    #[test]
    fn only_root_can_become_somebody_else() {
        let named = owner("user = \"nobody\"");
        if Uid::effective().is_root() {
            assert_eq!(named.unwrap().unwrap().name(), "nobody");
        } else {
            assert!(named.unwrap_err().contains("only root can become `nobody`"));
        }
    }
}
