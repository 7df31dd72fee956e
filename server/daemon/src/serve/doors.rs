//! The doors that are open: bound from `server_list`, kept or swapped at a reload.
//!
//! A listener that only changed its settings keeps its socket and its connections; new connections meet the new settings.

use crate::{home::Home, wiring};
use lockgate_access::Gate;
use lockgate_config::{
    Prefs,
    prefs::{FtpPrompt, Listener, ListenerKind, SessionReuse},
    values::{PassiveAddress, PassivePorts},
};
use lockgate_ftp::{CodePrompt, FtpDoor, FtpSettings, PassiveHost};
use lockgate_http::{HttpDoor, HttpSettings, Mounted};
use lockgate_model::Door;
use lockgate_net::{Bound, Connection, Frontend, House, ListenerSettings, Stop, StopSource, TlsMaterial};
use lockgate_sftp::{HostKeys, SftpFrontend, SftpSettings};
use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};
use tokio::task::JoinHandle;

/// All listeners.
pub(super) struct Doors {
    gate: Gate,
    house: House,
    tls: TlsMaterial,
    host_keys: HostKeys,
    dav: Mounted,
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
    pub(super) fn new(gate: Gate, house: House, tls: TlsMaterial, host_keys: HostKeys, stop: Stop) -> Self {
        let dav = lockgate_webdav::mount(gate.clone());
        Self { gate, house, tls, host_keys, dav, stop, open: Mutex::default() }
    }

    /// Opens what `prefs` wants and closes what it no longer wants. Binds everything new before it changes anything: on an
    /// error all doors are as they were.
    pub(super) fn open(&self, prefs: &Prefs, home: &Home) -> anyhow::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
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
            let frontend = self.frontend(wanted, prefs, home)?;
            let place = open.listeners.iter().zip(&kept).position(|(listener, kept)| {
                !kept
                    && listener.door == door
                    && listener.wanted.address == wanted.address
                    && same_socket(&listener.wanted, wanted)
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
        let grace = prefs.server.shutdown_grace;
        open.listeners
            .extend(fresh.into_iter().map(|(wanted, bound, frontend)| self.start(wanted, bound, frontend, grace)));
        open.unopened = unopened;
        Ok(())
    }

    fn start(&self, wanted: Listener, bound: Bound, frontend: Arc<dyn Frontend>, grace: Duration) -> OpenListener {
        let (door, address) = (bound.door(), bound.address());
        let frontend = Arc::new(Swap { door, now: RwLock::new(frontend) });
        let stop = StopSource::new();
        let (all, own) = (self.stop.clone(), stop.clone());
        let (house, serving) = (self.house.clone(), Arc::clone(&frontend) as Arc<dyn Frontend>);
        let task = tokio::spawn(async move {
            let told = own.listener();
            let serve = bound.serve(serving, house, own.listener(), grace);
            tokio::pin!(serve);
            tokio::select! {
                () = &mut serve => return,
                () = all.stopping() => own.stop(),
                () = told.stopping() => {}
            }
            serve.await;
        });
        OpenListener { wanted, door, address, frontend, stop, task }
    }

    fn frontend(&self, wanted: &Listener, prefs: &Prefs, home: &Home) -> anyhow::Result<Arc<dyn Frontend>> {
        let tls = match &wanted.certificate {
            Some((certificate, key)) => TlsMaterial::load(&home.path().join(certificate), &home.path().join(key))?,
            None => self.tls.clone(),
        };
        let http =
            || HttpSettings { trusted_proxies: wanted.trusted_proxies.clone(), allow_webdav: wanted.allow_webdav };
        Ok(match wanted.kind {
            ListenerKind::Ftp | ListenerKind::Ftps | ListenerKind::Dmz => {
                let settings = FtpSettings {
                    implicit: wanted.kind == ListenerKind::Ftps,
                    explicit_tls: wanted.explicit_tls,
                    require_secure: wanted.require_secure,
                    passive_ports: match &wanted.passive_ports {
                        PassivePorts::Any => lockgate_ftp::PassivePorts::Any,
                        PassivePorts::Range(range) => lockgate_ftp::PassivePorts::Range(range.clone()),
                    },
                    passive_host: match &wanted.passive_address {
                        PassiveAddress::Ip(IpAddr::V4(address)) => PassiveHost::Ip(*address),
                        // PASV cannot tell an IPv6 address, and EPSV tells none.
                        PassiveAddress::FromConnection | PassiveAddress::Ip(IpAddr::V6(_)) => {
                            PassiveHost::FromConnection
                        }
                        PassiveAddress::Host(name) => PassiveHost::Name(name.clone()),
                    },
                    session_reuse: match prefs.ftp.session_reuse {
                        SessionReuse::Auto => lockgate_ftp::SessionReuse::OnceSeen,
                        SessionReuse::Always => lockgate_ftp::SessionReuse::Always,
                        SessionReuse::Never => lockgate_ftp::SessionReuse::Never,
                    },
                    code_prompt: match prefs.ftp.prompt {
                        FtpPrompt::Compound => CodePrompt::Compound,
                        FtpPrompt::Acct => CodePrompt::Account,
                    },
                    active_mode: prefs.ftp.active_mode,
                    command_limit: usize::try_from(prefs.ftp.command_limit.0).unwrap_or(usize::MAX),
                    idle: prefs.server.idle_timeout,
                };
                Arc::new(FtpDoor::new(self.gate.clone(), settings, tls))
            }
            ListenerKind::Sftp => {
                let settings = SftpSettings {
                    banner: prefs.ssh.banner.clone(),
                    scp_legacy: wanted.scp_legacy,
                    idle: prefs.server.idle_timeout,
                    ..SftpSettings::new(self.host_keys.clone())
                };
                Arc::new(SftpFrontend::new(self.gate.clone(), settings))
            }
            ListenerKind::Http => Arc::new(HttpDoor::clear(self.gate.clone(), Some(self.dav.clone()), http())),
            ListenerKind::Https => Arc::new(HttpDoor::secure(self.gate.clone(), tls, Some(self.dav.clone()), http())),
        })
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

/// Whether the socket can be kept: what is given to the listener itself has not changed.
fn same_socket(old: &Listener, new: &Listener) -> bool {
    old.proxy_protocol == new.proxy_protocol && old.max_connections == new.max_connections
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
