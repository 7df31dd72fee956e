//! The plugins of a server: which there are, how they are reached, how they fare.
//!
//! Never: a plugin that the preferences do not name. What lies in the folder and is not named is not even looked at.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lockgate_access::{ChannelName, Factor};
use lockgate_model::Secret;
use lockgate_plugin::exchange::What;
use tokio::time::timeout;
use tracing::warn;

use crate::PluginError;
use crate::directory::PluginDirectory;
use crate::factor::PluginFactor;
use crate::line::{Deadlines, Known, Line};
use crate::process::WorkerCommand;
use crate::report::{PluginReport, PluginState, Role};
use crate::start::{Plan, load};
use crate::trust::SearchPath;

/// A plugin that the preferences enable.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// What it is called in `otp_channels`: `totp`, `sms`, or an operator's own word where one plugin serves twice.
    pub channel: String,
    /// Its name, as in `lockgate_NAME.so`.
    pub plugin: String,
    /// The file in `HOME/plugins`, where it is not called after the plugin.
    pub file: Option<String>,
    /// SHA-256 of the file in hexadecimal, where the operator pins it.
    pub sha256: Option<String>,
    /// Its settings, under the names of the preferences; each is treated as a secret.
    pub settings: Vec<(String, Secret<String>)>,
}

/// How plugins are run.
#[derive(Debug, Clone)]
pub struct PluginSettings {
    /// Where files are looked for.
    pub search: SearchPath,
    /// What plays the worker.
    pub worker: WorkerCommand,
    /// How long a plugin may take.
    pub deadlines: Deadlines,
    /// Calls at once for one plugin (16); more wait for their turn.
    pub max_calls: usize,
}

impl PluginSettings {
    /// The defaults for a server whose home is `home`.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        Self {
            search: SearchPath::new(home),
            worker: WorkerCommand::this_program(),
            deadlines: Deadlines::default(),
            max_calls: 16,
        }
    }
}

/// The plugins of a server. Dropping it, and the factors that came from it, ends their workers.
pub struct PluginHost {
    plugins: Vec<Plugin>,
}

struct Plugin {
    channel: Option<ChannelName>,
    line: Arc<Line>,
}

impl PluginHost {
    /// Reads each plugin's description and tries its settings, in a worker that ends at once. No worker is left running:
    /// each starts with the first call.
    ///
    /// A plugin that cannot be loaded is kept: its factor cannot serve, its report says why, and it is tried again with
    /// the next call. Within a tokio runtime.
    pub async fn start(settings: PluginSettings, specs: &[PluginSpec]) -> Self {
        let mut checks = Vec::new();
        for spec in specs {
            let plan = Plan::new(spec, settings.search.clone(), settings.worker.clone());
            let limit = settings.deadlines.start;
            let tried = tokio::spawn(async move {
                let tried = plan.start(limit).await.map(|started| {
                    started.worker.part();
                    started.said
                });
                (plan, tried)
            });
            checks.push((spec, tried));
        }
        let mut plugins = Vec::new();
        for (spec, tried) in checks {
            let mut report = PluginReport::new(&spec.channel, &spec.plugin);
            let (plan, tried) = match tried.await {
                Ok(tried) => tried,
                Err(error) => {
                    let plan = Plan::new(spec, settings.search.clone(), settings.worker.clone());
                    (plan, Err(PluginError::Spawn { why: error.to_string() }))
                }
            };
            report.file = plan.file();
            let mut first = None;
            match tried {
                Ok(said) => {
                    report.describe(&said);
                    report.state = PluginState::Ready;
                    first = Some(said);
                }
                Err(error) => {
                    let shown = plan.secrets.blot(&error.to_string(), [].into_iter());
                    warn!(plugin = %spec.channel, reason = %shown, "plugin cannot serve");
                    report.failures = 1;
                    report.last_error = Some(shown);
                }
            }
            let known = Arc::new(Mutex::new(Known { report, resting_until: None, first }));
            let line = Line::new(plan, known, settings.max_calls, settings.deadlines);
            plugins.push(Plugin { channel: ChannelName::new(&spec.channel), line: Arc::new(line) });
        }
        Self { plugins }
    }

    /// The second factors, one for each plugin that is one, and for each that was never loaded: it may become one.
    ///
    /// A plugin whose channel name is none (see [`ChannelName::new`]) is left out.
    #[must_use]
    pub fn factors(&self) -> Vec<Arc<dyn Factor>> {
        let factor = |plugin: &Plugin| -> Option<Arc<dyn Factor>> {
            let roles = plugin.line.report().roles;
            let is = !plugin.line.described() || roles.contains(&Role::Delivers) || roles.contains(&Role::Verifies);
            let channel = plugin.channel.clone().filter(|_| is)?;
            Some(Arc::new(PluginFactor::new(channel, Arc::clone(&plugin.line))))
        };
        self.plugins.iter().filter_map(factor).collect()
    }

    /// The directories, in the order of the preferences: one for each plugin that said so when the server started.
    #[must_use]
    pub fn directories(&self) -> Vec<PluginDirectory> {
        let directory = |plugin: &Plugin| {
            let is = plugin.line.report().roles.contains(&Role::Directory);
            is.then(|| PluginDirectory::new(Arc::clone(&plugin.line)))
        };
        self.plugins.iter().filter_map(directory).collect()
    }

    /// How each plugin fares now.
    #[must_use]
    pub fn reports(&self) -> Vec<PluginReport> {
        self.plugins.iter().map(|plugin| plugin.line.report()).collect()
    }

    /// Tells every plugin with the role `events` what happened, without waiting. Where one has too many waiting it misses
    /// this one, and its report says so.
    pub fn tell(&self, event_json: &str) {
        for plugin in &self.plugins {
            if plugin.line.report().roles.contains(&Role::Events) {
                let fields = vec![("event".to_owned(), event_json.as_bytes().to_vec().into())];
                if !plugin.line.tell(What::Event, fields) {
                    plugin.line.missed();
                }
            }
        }
    }

    /// Loads a file into a worker and says what it is, without putting it to use.
    ///
    /// # Errors
    /// Whatever keeps it from being loaded.
    pub async fn check(settings: &PluginSettings, file: PathBuf) -> Result<PluginReport, PluginError> {
        let limit = settings.deadlines.start;
        let loaded = timeout(limit, load(&settings.worker, &settings.search, file.clone(), None)).await;
        let (worker, said) = loaded.map_err(|_| PluginError::Late { after: limit })??;
        worker.part();
        let mut report = PluginReport::new(&said.name, &said.name);
        report.describe(&said);
        report.file = Some(file);
        report.state = PluginState::Ready;
        Ok(report)
    }
}
