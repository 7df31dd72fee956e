//! The certificates in use: one material for each pair of files, so that listeners which share a pair share its tickets too, and
//! a change of prefs.xml that is about something else leaves both as they are.

use lockgate_net::{OldestTls, TlsError, TlsMaterial};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Certificate, key, and what is spoken with them.
type Pair = (PathBuf, PathBuf, OldestTls);

/// See the module.
#[derive(Default)]
pub(super) struct Certificates {
    open: Mutex<HashMap<Pair, TlsMaterial>>,
}

impl Certificates {
    /// The material of a pair of files, read where it is not open yet.
    pub(super) fn of(&self, certificate: PathBuf, key: PathBuf, oldest: OldestTls) -> Result<TlsMaterial, TlsError> {
        let mut open = self.open();
        let pair = (certificate, key, oldest);
        if let Some(material) = open.get(&pair) {
            return Ok(material.clone());
        }
        let material = TlsMaterial::load_from(&pair.0, &pair.1, oldest)?;
        open.insert(pair, material.clone());
        Ok(material)
    }

    /// Reads every pair anew. One that is of no use any more leaves the one before it in use.
    pub(super) fn reload(&self) {
        for ((certificate, ..), material) in self.open().iter() {
            if let Err(error) = material.reload() {
                let certificate = certificate.display();
                tracing::error!(%certificate, %error, "the certificate is refused, the one before it stays in use");
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Pair, TlsMaterial>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
