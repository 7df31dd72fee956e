//! The doors that are open: bound from `server_list`, kept or swapped at a reload.
//!
//! A listener that only changed its settings keeps its socket and its connections; new connections meet the new settings.

use super::{
    certificates::Certificates,
    frontends::{Makers, host_keys},
};
use crate::{home::Home, wiring};
use lockgate_access::Gate;
use lockgate_config::{
    Prefs,
    prefs::{Listener, ListenerKind},
};
use lockgate_http::Mounted;
use lockgate_model::Door;
use lockgate_net::{Bound, Connection, Frontend, House, ListenerControl, ListenerSettings, Stop, StopSource};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// All listeners.
pub(super) struct Doors {
    gate: Gate,
    house: House,
    home: Home,
    certificates: Certificates,
    dav: Mounted,
    /// How long what runs may go on when a door closes, in milliseconds: asked for at that moment.
    grace: Arc<AtomicU64>,
    stop: Stop,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    listeners: Vec<OpenListener>,
    unopened: Vec<String>,
}

struct OpenListener {
    wanted: Listener,
    door: Door,
    address: SocketAddr,
    control: ListenerControl,
    frontend: Arc<Swap>,
    stop: StopSource,
    task: JoinHandle<()>,
}

/// Where a door is.
pub(super) struct At {
    pub(super) door: Door,
    pub(super) address: SocketAddr,
}

/// A frontend whose settings can change between connections.
struct Swap {
    door: Door,
    now: RwLock<Arc<dyn Frontend>>,
}

#[async_trait::async_trait]
impl Frontend for Swap {
    fn door(&self) -> Door {
        self.door
    }

    async fn serve(&self, connection: Connection) {
        let frontend = Arc::clone(&*self.now.read().unwrap_or_else(PoisonError::into_inner));
        frontend.serve(connection).await;
    }
}

impl Doors {
    pub(super) fn new(gate: Gate, house: House, home: Home, stop: Stop) -> Self {
        let dav = lockgate_webdav::mount(gate.clone());
        let (certificates, grace) = (Certificates::default(), Arc::default());
        Self { gate, house, home, certificates, dav, grace, stop, open: Mutex::default() }
    }

    /// Opens what `prefs` wants and closes what it no longer wants. Binds everything new before it changes anything: on an
    /// error all doors are as they were.
    pub(super) fn open(&self, prefs: &Prefs) -> anyhow::Result<()> {
        let makers = Makers {
            gate: &self.gate,
            dav: &self.dav,
            certificates: &self.certificates,
            home: &self.home,
            host_keys: host_keys(prefs, &self.home)?,
            prefs,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.certificates.begin();
        let mut kept: Vec<bool> = vec![false; open.listeners.len()];
        let mut swaps = Vec::new();
        let mut fresh = Vec::new();
        let mut unopened = Vec::new();
        for wanted in prefs.listeners.iter().filter(|listener| listener.enabled) {
            let Some(door) = door_of(wanted.kind) else {
                unopened.push(format!(
                    "the {} listener on {} is not opened: this version has no such door",
                    wanted.kind, wanted.address
                ));
                continue;
            };
            let frontend = makers.frontend(wanted)?;
            let place = open.listeners.iter().zip(&kept).position(|(listener, kept)| {
                !kept && listener.door == door && listener.wanted.address == wanted.address
            });
            if let Some(place) = place {
                if let Some(kept) = kept.get_mut(place) {
                    *kept = true;
                }
                swaps.push((place, wanted.clone(), frontend));
            } else {
                let bound = Bound::bind(ListenerSettings {
                    door,
                    address: wanted.address,
                    proxy_protocol: wanted.proxy_protocol.clone(),
                    max_connections: wiring::connections(wanted.max_connections),
                })?;
                fresh.push((wanted.clone(), bound, frontend));
            }
        }
        for (place, wanted, frontend) in swaps {
            if let Some(listener) = open.listeners.get_mut(place) {
                let limit = wiring::connections(wanted.max_connections);
                listener.control.change(wanted.proxy_protocol.clone(), limit);
                listener.wanted = wanted;
                *listener.frontend.now.write().unwrap_or_else(PoisonError::into_inner) = frontend;
            }
        }
        let mut kept = kept.into_iter();
        open.listeners.retain(|listener| {
            let keep = kept.next().unwrap_or(false);
            if !keep {
                listener.stop.stop();
            }
            keep
        });
        let grace = u64::try_from(prefs.server.shutdown_grace.as_millis()).unwrap_or(u64::MAX);
        self.grace.store(grace, Ordering::Relaxed);
        open.listeners.extend(fresh.into_iter().map(|(wanted, bound, frontend)| self.start(wanted, bound, frontend)));
        open.unopened = unopened;
        self.certificates.settle();
        Ok(())
    }

    fn start(&self, wanted: Listener, bound: Bound, frontend: Arc<dyn Frontend>) -> OpenListener {
        let (door, address, control) = (bound.door(), bound.address(), bound.control());
        let frontend = Arc::new(Swap { door, now: RwLock::new(frontend) });
        let stop = StopSource::new();
        let (all, own) = (self.stop.clone(), stop.clone());
        let (house, serving) = (self.house.clone(), Arc::clone(&frontend) as Arc<dyn Frontend>);
        let grace = Arc::clone(&self.grace);
        let task = tokio::spawn(async move {
            let told = own.listener();
            let grace = move || Duration::from_millis(grace.load(Ordering::Relaxed));
            let serve = bound.serve_with(serving, house, own.listener(), grace);
            tokio::pin!(serve);
            tokio::select! {
                () = &mut serve => return,
                () = all.stopping() => own.stop(),
                () = told.stopping() => {}
            }
            serve.await;
        });
        OpenListener { wanted, door, address, control, frontend, stop, task }
    }

    /// Reads certificates anew.
    pub(super) fn reload_certificates(&self) {
        self.certificates.reload();
    }

    /// What was wrong with their files, for an administrator.
    pub(super) fn refused_certificates(&self) -> Vec<String> {
        self.certificates.refused()
    }

    /// Where the doors are.
    pub(super) fn listeners(&self) -> Vec<At> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.listeners.iter().map(|listener| At { door: listener.door, address: listener.address }).collect()
    }

    /// What prefs.xml wants and this version cannot open.
    pub(super) fn unopened(&self) -> Vec<String> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).unopened.clone()
    }

    /// Waits until every door is closed and its connections have ended, within the grace of each.
    pub(super) async fn closed(&self) {
        let tasks: Vec<JoinHandle<()>> = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.listeners.drain(..).map(|listener| listener.task).collect()
        };
        for task in tasks {
            let _ = task.await;
        }
    }
}

fn door_of(kind: ListenerKind) -> Option<Door> {
    match kind {
        ListenerKind::Ftp => Some(Door::Ftp),
        ListenerKind::Sftp => Some(Door::Sftp),
        ListenerKind::Http => Some(Door::Http),
        ListenerKind::Https => Some(Door::Https),
        ListenerKind::Ftps => Some(Door::Ftps),
        // The DMZ pair is not built yet.
        ListenerKind::Dmz => None,
    }
}
