//! Commands that change names and facts.

use super::Room;
use crate::{
    command::Inside,
    date::stamp,
    names::{quoted, shown},
    reply::{Reply, refused, say},
};
use lockgate_model::VPath;
use lockgate_vfs::{Facts, Overwrite, VfsError};

impl Room {
    /// Makes and removes names.
    pub(super) async fn change(&mut self, command: Inside) -> Result<Reply, Reply> {
        let said = |error: VfsError| refused(&error);
        match command {
            Inside::Mkd(name) => {
                let path = self.path(&name)?;
                self.vfs().make_folder(&path).await.map_err(said)?;
                Ok(Reply::new(257, format!("{} is there now", quoted(&path))))
            }
            Inside::Rmd(name) => {
                self.vfs().remove_folder(&self.path(&name)?).await.map_err(said)?;
                Ok(say::REMOVED)
            }
            Inside::Dele(name) => {
                self.vfs().remove_file(&self.path(&name)?).await.map_err(said)?;
                Ok(say::REMOVED)
            }
            Inside::Rnfr(name) => {
                let path = self.path(&name)?;
                self.vfs().lstat(&path).await.map_err(said)?;
                self.renamed = Some(path);
                Ok(say::NEW_NAME_WANTED)
            }
            _ => Err(say::NOT_HERE),
        }
    }

    /// The second half of a rename.
    pub(super) async fn rnto(&mut self, from: Option<VPath>, name: &[u8]) -> Result<Reply, Reply> {
        let from = from.ok_or(say::RNFR_FIRST)?;
        let to = self.path(name)?;
        self.vfs().rename(&from, &to, Overwrite::Replace).await.map_err(|error| refused(&error))?;
        Ok(say::RENAMED)
    }

    /// Sets times and modes.
    pub(super) async fn change_facts(&mut self, command: Inside) -> Result<Reply, Reply> {
        let (facts, name, reply) = match command {
            Inside::Mfmt(time, name) => {
                let reply = Reply::new(213, format!("Modify={}; {}", stamp(time), shown(&name)));
                (Facts { modified: Some(time), ..Facts::default() }, name, reply)
            }
            Inside::Mff(changes, name) => {
                let modified = changes.modified.map(|time| format!("Modify={};", stamp(time))).unwrap_or_default();
                let mode = changes.mode.map(|mode| format!("UNIX.mode=0{mode:03o};")).unwrap_or_default();
                let reply = Reply::new(213, format!("{modified}{mode} {}", shown(&name)));
                (Facts { modified: changes.modified, mode: changes.mode, ..Facts::default() }, name, reply)
            }
            Inside::SiteChmod(mode, name) => (Facts { mode: Some(mode), ..Facts::default() }, name, say::MODE_CHANGED),
            Inside::SiteUtime(time, name) => {
                (Facts { modified: Some(time), ..Facts::default() }, name, say::TIMES_CHANGED)
            }
            _ => return Err(say::NOT_HERE),
        };
        self.vfs().set_facts(&self.path(&name)?, facts).await.map_err(|error| refused(&error))?;
        Ok(reply)
    }
}
