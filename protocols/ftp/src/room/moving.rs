//! Transfers and listings: from a command to the job that does it.

use super::{Next, Protection, Room};
use crate::{
    command::{Inside, Mode, Representation},
    data::Agreed,
    job::{Errand, Job, Road},
    listing::{Listing, list},
    names::shown,
    reply::{Reply, say},
    tls::DataGuard,
    transfer::{Begin, retrieve, store},
};
use lockgate_model::VPath;
use lockgate_vfs::Intent;

impl Room {
    /// Begins what needs a data connection. Offsets and announcements are for one transfer, whatever becomes of it.
    pub(super) fn move_data(&mut self, command: Inside, protection: Protection) -> Result<Next, Reply> {
        let (restart, announced) = (std::mem::take(&mut self.restart), self.announced.take());
        let guard = match protection {
            Protection::Missing => return Err(say::DATA_MUST_BE_PROTECTED),
            Protection::None => None,
            Protection::Tls(guard) => Some(guard),
        };
        if matches!(self.agreed, Agreed::Nothing) {
            return Err(say::NO_DATA_CONNECTION);
        }
        let how = self.representation;
        // The offset was agreed on before the type was changed: it counts bytes that text on the wire does not have.
        if restart > 0 && how == Representation::Ascii && matches!(command, Inside::Retr(_) | Inside::Stor(_)) {
            return Err(say::RESTART_IS_NO_PLACE_IN_TEXT);
        }
        let job = match command {
            Inside::Retr(name) => {
                let path = self.path(&name)?;
                self.errand("RETR", &path.clone(), guard, |errand| retrieve(errand, path, restart, how))
            }
            Inside::Stor(name) => {
                let intent = match restart {
                    0 => Intent::Create,
                    offset => Intent::Patch { offset: Some(offset), append: false },
                };
                let begin = self.begin(self.path(&name)?, intent, restart, announced);
                self.upload("STOR", begin, guard)
            }
            Inside::Appe(name) => {
                let intent = Intent::Patch { offset: None, append: true };
                let begin = self.begin(self.path(&name)?, intent, 0, announced);
                self.upload("APPE", begin, guard)
            }
            Inside::List(rows, name) => {
                let listing = Listing { cwd: self.cwd.clone(), name, rows, facts: self.facts };
                self.errand(rows.verb(), &listing.path()?, guard, |errand| list(errand, listing))
            }
            _ => {
                let name = unique_name()?;
                let mut begin = self.begin(self.path(name.as_bytes())?, Intent::CreateNew, 0, announced);
                // RFC 1123 section 4.1.2.9.
                begin.opening = Reply::new(150, format!("FILE: {name}"));
                self.upload("STOU", begin, guard)
            }
        };
        Ok(Next::Run(job))
    }

    fn begin(&self, path: VPath, intent: Intent, at: u64, announced: Option<u64>) -> Begin {
        let how: Representation = self.representation;
        let opening = Reply::new(150, format!("Send {}", shown(path.as_bytes())));
        Begin { path, intent, at, announced, how, opening }
    }

    fn upload(&mut self, verb: &'static str, begin: Begin, guard: Option<DataGuard>) -> Job {
        self.errand(verb, &begin.path.clone(), guard, |errand| store(errand, begin))
    }

    fn errand<F>(
        &mut self,
        verb: &'static str,
        path: &VPath,
        guard: Option<DataGuard>,
        work: impl FnOnce(Errand) -> F,
    ) -> Job
    where
        F: Future<Output = Result<Reply, Reply>> + Send + 'static,
    {
        let packed = (self.mode == Mode::Deflate).then_some(self.level);
        let road = Road { agreed: std::mem::take(&mut self.agreed), guard, packed };
        let doing = self.guest.activity.begin(verb, path);
        Errand::run(doing, (self.guest.vfs.clone(), self.house.settings.idle), road, work)
    }
}

/// A name that nobody has and nobody can foretell.
fn unique_name() -> Result<String, Reply> {
    let mut bytes = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Reply::new(451, "no name could be made"))?;
    Ok(format!("upload-{:016x}", u64::from_ne_bytes(bytes)))
}
