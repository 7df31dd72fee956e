//! The server's life: open what the home keeps, build the rooms, open the doors, follow prefs.xml, stop in order.

mod certificates;
mod doors;
mod frontends;
mod reload;
mod report;

use crate::{cli::Init, control, factors, home::Home, init, logging, preferences, stores::Stores, wiring};
use anyhow::Context as _;
use doors::Doors;
use lockgate_access::{Gate, GateParts};
use lockgate_config::{Fingerprint, Prefs};
use lockgate_events::Event;
use lockgate_net::{AddressBook, House, StopSource};
use lockgate_plugins::PluginHost;
use lockgate_vfs::Storage;
use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) use report::moment;

/// How often what is older than its time is swept out of the store. The ledger is the gate's to sweep.
const SWEEP_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// Everything that runs.
pub(crate) struct Server {
    home: Home,
    stores: Stores,
    gate: Gate,
    storage: Storage,
    house: House,
    addresses: AddressBook,
    doors: Doors,
    state: Mutex<State>,
    /// Held while prefs.xml is read and taken over: one after the other, so that the newest file is the one in force.
    taking_over: tokio::sync::Mutex<()>,
    /// The prefs.xml that was looked at when the server was built.
    built_from: Option<Fingerprint>,
    started: Instant,
    stop: StopSource,
}

/// What a reload changes.
struct State {
    prefs: Prefs,
    plugins: Arc<PluginHost>,
    /// Why the prefs.xml on disk is not the one in force.
    prefs_error: Option<String>,
    warnings: Vec<String>,
    ready: bool,
}

/// Runs the server until it is told to stop.
pub(crate) fn run(home: &Home, first: &Init) -> anyhow::Result<()> {
    logging::start();
    // Memory of a crashed server would hold secrets, and so would one that another process of the user may read.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    raise_descriptor_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(live(home, first));
    // Blocking threads may still be hashing for clients that are gone.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

async fn live(home: &Home, first: &Init) -> anyhow::Result<()> {
    make_if_empty(home, first).await?;
    let signals = Signals::listen()?;
    let _lock = home.lock()?;
    let server = build(home).await?;
    let control =
        tokio::spawn(control::serve(control::listen(home)?, Arc::clone(&server) as Arc<dyn control::Answers>));
    let chores = tokio::spawn(chores(Arc::clone(&server)));
    server.announce_ready();
    signals.follow(&server).await;
    server.stores.events.announce(&Event::Server { phase: "stopping" });
    tracing::info!("stopping: running transfers may finish");
    server.stop.stop();
    chores.abort();
    server.doors.closed().await;
    control.abort();
    let _ = fs::remove_file(home.control());
    server.stores.close().await;
    server.stores.events.announce(&Event::Server { phase: "stopped" });
    Ok(())
}

/// A home is made only where there is nothing: one whose prefs.xml went missing is not begun anew with a new administrator.
async fn make_if_empty(home: &Home, first: &Init) -> anyhow::Result<()> {
    if home.prefs().exists() {
        return Ok(());
    }
    if home.database().exists() {
        return home.require();
    }
    let made = init::run(home, first).await?;
    init::tell(home, &made, false);
    Ok(())
}

async fn build(home: &Home) -> anyhow::Result<Arc<Server>> {
    home.make()?;
    // Before it is read: a change in between is then seen as one.
    let built_from = Fingerprint::of(&home.prefs());
    let reading = preferences::load(home)?;
    let prefs = reading.prefs;
    let stores = Stores::of(home, &prefs).await?;
    stores.events.announce(&Event::Server { phase: "starting" });
    let addresses = AddressBook::new();
    addresses.exempt(prefs.bans.exempt.clone());
    let house = House::new(wiring::net(&prefs), addresses.clone());
    let storage = Storage::new(wiring::storage(&prefs), stores.events.clone());
    storage.limit_locks(wiring::locks(&prefs));
    let plugins = Arc::new(factors::start(home, &prefs, &stores.key).await?);
    let gate = Gate::new(GateParts {
        directory: Arc::clone(&stores.directory),
        ledger: Arc::clone(&stores.ledger) as Arc<dyn lockgate_access::Ledger>,
        factors: plugins.factors(),
        storage: storage.clone(),
        tree: wiring::tree(home),
        addresses: addresses.clone(),
        events: stores.events.clone(),
        key: stores.key.clone(),
        settings: wiring::access(&prefs),
    });
    let stop = StopSource::new();
    let doors = Doors::new(gate.clone(), house.clone(), home.clone(), stop.listener());
    doors.open(&prefs)?;
    let server = Arc::new(Server {
        home: home.clone(),
        gate,
        storage,
        house,
        addresses,
        doors,
        state: Mutex::new(State { prefs, plugins, prefs_error: None, warnings: Vec::new(), ready: false }),
        taking_over: tokio::sync::Mutex::default(),
        built_from,
        started: Instant::now(),
        stop,
        stores,
    });
    server.note_warnings(reading.warnings.iter().map(ToString::to_string).collect()).await;
    Ok(server)
}

/// What is done now and then.
async fn chores(server: Arc<Server>) {
    let watching = tokio::spawn(reload::watch(Arc::clone(&server)));
    let stop = server.stop.listener();
    loop {
        let roots = server.roots().await;
        server.storage.sweep(&roots).await;
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = stop.stopping() => break,
        }
    }
    watching.abort();
}

impl Server {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host's folders that hold users' own files: where partials of an earlier run may lie.
    async fn roots(&self) -> Vec<std::path::PathBuf> {
        let tree = wiring::tree(&self.home);
        let accounts = self.stores.accounts().list().await.unwrap_or_default();
        accounts
            .iter()
            .flat_map(|account| tree(account).mounts)
            .map(|mount| mount.source)
            .filter(|source| source.is_dir())
            .collect()
    }

    fn announce_ready(&self) {
        self.state().ready = true;
        self.stores.events.announce(&Event::Server { phase: "ready" });
        for listener in self.doors.listeners() {
            crate::output::line(format_args!("{:6}{}", listener.door, listener.address));
        }
        crate::output::line(format_args!("ready: {}", self.home.path().display()));
    }

    /// Keeps what an administrator should know, and says it in the log.
    async fn note_warnings(&self, mut warnings: Vec<String>) {
        let (switched_on, in_clear, plugins) = {
            let state = self.state();
            (state.prefs.second_factor.switched_on, state.prefs.codes_may_travel_in_clear(), Arc::clone(&state.plugins))
        };
        if !switched_on && let Ok(users @ 1..) = self.stores.directory.second_factor_users().await {
            warnings.push(format!(
                "otp_validated_logins is false while {users} users have a second factor: none is asked for it"
            ));
        }
        if in_clear {
            warnings.push(
                "a second factor is due on ftp or http, where a code can be read on the way: set require_secure on the FTP listener, \
                 and use HTTPS"
                    .to_owned(),
            );
        }
        warnings.extend(self.doors.unopened());
        for report in plugins.reports() {
            if let Some(error) = report.last_error.filter(|_| report.file.is_none() || report.version.is_empty()) {
                warnings.push(format!("plugin {} is not loaded: {error}", report.plugin));
            }
        }
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        self.state().warnings = warnings;
    }
}

/// The signals that mean something to a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Returns when the server is to stop; SIGHUP reads everything anew.
    async fn follow(mut self, server: &Arc<Server>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    reload::certificates(server);
                    if let Err(error) = server.stores.audit.reopen() {
                        tracing::error!(%error, "the audit file could not be opened anew");
                    }
                    reload::now(server).await;
                }
            }
        }
    }
}

/// As many open files as the system allows this process: each transfer takes two or three.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
