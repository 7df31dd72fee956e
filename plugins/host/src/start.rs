//! How a worker comes up: file checked, process started, description read, settings handed over.
//!
//! The same steps whether the worker is to stay (the first call) or only to say what the plugin is (start-up, `plugin
//! check`), so that what was checked is what runs.
//!
//! Never: a step skipped because an earlier start passed it. The file may have been changed since.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockgate_plugin::abi;
use lockgate_plugin::exchange::Fields;
use tokio::time::{Instant, timeout_at};

use crate::line::{fits, unix_seconds};
use crate::process::{Heard, Worker, WorkerCommand};
use crate::redact::Secrets;
use crate::trust::{SearchPath, trusted};
use crate::wire::{Ask, Description, Report, Request};
use crate::{PluginError, PluginSpec};

/// Everything that starting a plugin's worker takes.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) channel: String,
    plugin: String,
    named: Option<String>,
    sha256: Option<String>,
    settings: Fields,
    pub(crate) secrets: Secrets,
    search: SearchPath,
    command: WorkerCommand,
}

/// A worker that is ready for calls.
pub(crate) struct Started {
    pub(crate) worker: Worker,
    pub(crate) said: Description,
}

impl Plan {
    pub(crate) fn new(spec: &PluginSpec, search: SearchPath, command: WorkerCommand) -> Self {
        let setting = |(key, value): &(String, lockgate_model::Secret<String>)| {
            (format!("setting.{key}"), value.expose().clone().into_bytes().into())
        };
        let settings: Fields = spec.settings.iter().map(setting).collect();
        Self {
            channel: spec.channel.clone(),
            plugin: spec.plugin.clone(),
            named: spec.file.clone(),
            sha256: spec.sha256.clone(),
            secrets: Secrets::of_settings(&settings),
            settings,
            search,
            command,
        }
    }

    /// The file as it is found now.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.found().ok()
    }

    fn found(&self) -> Result<PathBuf, PluginError> {
        match &self.named {
            Some(file) => self.search.find_file(&self.plugin, file),
            None => self.search.find(&self.plugin),
        }
    }

    /// Starts a worker, with an instance made of the settings, within `limit`.
    ///
    /// # Errors
    /// The first step that failed; no process is left then.
    pub(crate) async fn start(&self, limit: Duration) -> Result<Started, PluginError> {
        let until = Instant::now() + limit;
        let late = |_| PluginError::Late { after: limit };
        let file = self.found()?;
        let (mut worker, said) =
            timeout_at(until, load(&self.command, &self.search, file.clone(), self.sha256.clone()))
                .await
                .map_err(late)??;
        if said.name != self.plugin {
            let why = format!("it calls itself {:?}, the preferences call it {:?}", said.name, self.plugin);
            return Err(PluginError::Refused { path: file, why });
        }
        if !fits(&self.settings) {
            return Err(PluginError::Settings { why: "they are too large".to_owned() });
        }
        let request = Request { id: 0, ask: Ask::Open, now: unix_seconds(), fields: self.settings.clone() };
        if !worker.send(request.encode()) {
            return Err(PluginError::Gone);
        }
        timeout_at(until, opened(&mut worker)).await.map_err(late)??;
        Ok(Started { worker, said })
    }
}

/// Loads a file into a worker and reads what the plugin says about itself; no instance is made.
///
/// # Errors
/// As [`Plan::start`].
pub(crate) async fn load(
    command: &WorkerCommand,
    search: &SearchPath,
    file: PathBuf,
    sha256: Option<String>,
) -> Result<(Worker, Description), PluginError> {
    let search = search.clone();
    let checked = tokio::task::spawn_blocking(move || trusted(&file, sha256.as_deref(), &search)).await;
    let file = checked.map_err(|error| PluginError::Spawn { why: error.to_string() })??;
    let path = file.path.clone();
    let mut worker = command.spawn(file)?;
    let said = introduced(&mut worker, &path).await?;
    Ok((worker, said))
}

async fn introduced(worker: &mut Worker, file: &Path) -> Result<Description, PluginError> {
    loop {
        match worker.hear().await {
            Some(Heard::Report(Report::Hello(said))) => {
                let known = abi::DELIVERS | abi::VERIFIES | abi::DIRECTORY | abi::EVENTS;
                return if said.roles & known == 0 || said.roles & !known != 0 {
                    Err(PluginError::Garbage)
                } else {
                    Ok(said)
                };
            }
            Some(Heard::Report(Report::Refused(why))) => {
                let why = Secrets::default().blot(&why, [].into_iter());
                return Err(PluginError::Refused { path: file.to_owned(), why });
            }
            // Constructors may log; nobody knows whose words these are yet.
            Some(Heard::Report(Report::Log { .. })) => {}
            Some(Heard::Report(Report::Answer { .. }) | Heard::Garbage) => return Err(PluginError::Garbage),
            None => {
                let why = "the worker ended over it; the file is damaged, or not made for this machine".to_owned();
                return Err(PluginError::Refused { path: file.to_owned(), why });
            }
        }
    }
}

async fn opened(worker: &mut Worker) -> Result<(), PluginError> {
    loop {
        match worker.hear().await {
            Some(Heard::Report(Report::Answer { id: 0, status: abi::OK, .. })) => return Ok(()),
            Some(Heard::Report(Report::Answer { id: 0, fields, .. })) => {
                let why = fields.iter().find(|(name, _)| name == "error").map(|(_, why)| why);
                let why =
                    why.map_or_else(|| "no reason given".to_owned(), |why| String::from_utf8_lossy(why).into_owned());
                return Err(PluginError::Settings { why });
            }
            Some(Heard::Report(Report::Log { .. })) => {}
            Some(Heard::Report(_) | Heard::Garbage) => return Err(PluginError::Garbage),
            None => return Err(PluginError::Gone),
        }
    }
}
