//! The certificates in use: one material for each set of files, so that listeners which share one share its tickets too, and
//! a change of prefs.xml that is about something else leaves both as they are.

use lockgate_net::{ClientTrust, OldestTls, TlsError, TlsMaterial};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Certificate, key, what is spoken with them, and whose certificates of clients count.
type Files = (PathBuf, PathBuf, OldestTls, Option<ClientTrust>);

/// See the module.
#[derive(Default)]
pub(super) struct Certificates {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    sets: HashMap<Files, Set>,
    /// Counts the openings of doors.
    opening: u64,
}

struct Set {
    material: TlsMaterial,
    /// The last opening of doors that asked for it.
    asked: u64,
    /// What was wrong with its files when they were last read anew.
    refused: Option<String>,
}

impl Certificates {
    /// The material of a set of files, read where it is not open yet.
    pub(super) fn of(
        &self,
        certificate: PathBuf,
        key: PathBuf,
        oldest: OldestTls,
        clients: Option<ClientTrust>,
    ) -> Result<TlsMaterial, TlsError> {
        let mut open = self.open();
        let opening = open.opening;
        let files = (certificate, key, oldest, clients);
        if let Some(set) = open.sets.get_mut(&files) {
            set.asked = opening;
            return Ok(set.material.clone());
        }
        let (certificate, key, oldest, clients) = &files;
        let material = TlsMaterial::load_asking(certificate, key, *oldest, clients.as_ref())?;
        open.sets.insert(files, Set { material: material.clone(), asked: opening, refused: None });
        Ok(material)
    }

    /// Doors are about to be opened: sets are asked for anew.
    pub(super) fn begin(&self) {
        self.open().opening += 1;
    }

    /// All doors are open: a set that none of them asked for is let go, and nothing is said of its files any more.
    pub(super) fn settle(&self) {
        let mut open = self.open();
        let opening = open.opening;
        open.sets.retain(|_, set| set.asked == opening);
    }

    /// Reads every set anew. What is of no use any more leaves what was before it in use, and is in [`Certificates::refused`].
    pub(super) fn reload(&self) {
        for ((certificate, ..), set) in &mut self.open().sets {
            set.refused = set.material.reload().err().map(|error| {
                let certificate = certificate.display();
                tracing::error!(%certificate, %error, "a file of TLS is refused, what was read from it before stays in use");
                format!("a file of TLS is refused, what was read from it before stays in use: {error}")
            });
        }
    }

    /// What the last reload refused, for an administrator.
    pub(super) fn refused(&self) -> Vec<String> {
        let mut refused: Vec<String> = self.open().sets.values().filter_map(|set| set.refused.clone()).collect();
        // Sets may share the file.
        refused.sort();
        refused.dedup();
        refused
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
