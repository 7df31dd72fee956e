//! The home: which file is where, and the one process that may serve it.

use anyhow::{Context as _, bail};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The folder that holds everything of one server.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// The folder given, or the default of the contract: `$XDG_DATA_HOME/lockgate`.
    pub(crate) fn locate(given: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = match given {
            Some(path) => path,
            None => {
                let data = std::env::var_os("XDG_DATA_HOME")
                    .map(PathBuf::from)
                    .filter(|path| path.is_absolute())
                    .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")));
                data.context("no home: give --home DIR or set LOCKGATE_HOME")?.join("lockgate")
            }
        };
        Ok(Self(std::path::absolute(&path).with_context(|| format!("{}: no such path", path.display()))?))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn prefs(&self) -> PathBuf {
        self.0.join("prefs.xml")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("lockgate.db")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.0.join("files")
    }

    pub(crate) fn secret_key(&self) -> PathBuf {
        self.0.join("keys/secret.key")
    }

    pub(crate) fn host_key(&self) -> PathBuf {
        self.0.join("keys/ssh_host_ed25519_key")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("keys/tls.crt")
    }

    pub(crate) fn certificate_key(&self) -> PathBuf {
        self.0.join("keys/tls.key")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.0.join("run/control.sock")
    }

    /// Makes the folders, each for its owner only.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        for folder in ["", "files", "keys", "plugins", "logs", "run"] {
            let path = self.0.join(folder);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(())
    }

    /// Fails, in words that help, where there is no home here.
    pub(crate) fn require(&self) -> anyhow::Result<()> {
        if !self.prefs().exists() {
            if self.database().exists() {
                bail!(
                    "{} has users but no prefs.xml: put it back (the one before is prefs.xml.1), or make a fresh one with `lockgate init`",
                    self.0.display()
                );
            }
            bail!("{} is no home of lockgate (no prefs.xml): run `lockgate init` or give --home DIR", self.0.display());
        }
        Ok(())
    }

    /// The lock that one serving process holds for its life. Taken before anything is opened.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let path = self.0.join("run/lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if file.try_lock().is_err() {
            bail!(
                "another lockgate serves {}: stop it first (`lockgate status --home {0}` tells its pid)",
                self.0.display()
            );
        }
        Ok(file)
    }

    /// Refuses a keys folder that others can read.
    pub(crate) fn refuse_loose_keys(&self) -> anyhow::Result<()> {
        let keys = self.0.join("keys");
        let mode = fs::metadata(&keys).with_context(|| format!("cannot read {}", keys.display()))?.permissions().mode()
            & 0o777;
        if mode & 0o077 != 0 {
            bail!("{} is open to others (mode {mode:o}): chmod 700 {0}", keys.display());
        }
        Ok(())
    }
}
