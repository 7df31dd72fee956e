//! The door as the listener sees it, and its settings.

use crate::{
    FtpTexts, PassiveHosts, PassivePorts, SessionReuse, advertised::Advertised, conversation::Talk, porter::Porter,
    ties::Kin,
};
use ipnet::IpNet;
use lockgate_access::Gate;
use lockgate_model::Door;
use lockgate_net::{Connection, Frontend, TlsMaterial};
use std::{sync::Arc, time::Duration};

/// How a code is asked for (`otp_ftp_prompt`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodePrompt {
    /// Not at all: it comes with the password, `PASSWORD:CODE`.
    #[default]
    Compound,
    /// By 332 after a right password, answered with `ACCT CODE`. It tells that the password was right, and many clients give
    /// up on it.
    Account,
}

/// The settings of one listener.
#[derive(Clone, Debug)]
pub struct FtpSettings {
    /// Whether TLS begins with the first byte (the FTPS door). Data connections are protected from the start then.
    pub implicit: bool,
    /// Whether `AUTH TLS` is offered.
    pub explicit_tls: bool,
    /// Whether logins and data in clear are refused.
    pub require_secure: bool,
    /// Whether data connections must resume the TLS session of their control connection.
    pub session_reuse: SessionReuse,
    /// Ports for passive data connections.
    pub passive_ports: PassivePorts,
    /// The address told to passive clients.
    pub passive_hosts: PassiveHosts,
    /// Where there are some, clients come through these proxies, with a PROXY header on data connections too.
    pub proxies: Vec<IpNet>,
    /// Whether data connections may come past the proxies, from the client's own address.
    pub direct_data: bool,
    /// Whether `PORT` and `EPRT` are obeyed; then only to the client's own address.
    pub active_mode: bool,
    /// How a code is asked for.
    pub code_prompt: CodePrompt,
    /// How long a session may say nothing, and a transfer stand still.
    pub idle: Duration,
    /// The longest command line in bytes (N2).
    pub command_limit: usize,
    /// Replies in an operator's own words.
    pub texts: FtpTexts,
}

impl Default for FtpSettings {
    /// Explicit TLS offered, any passive port, no active mode, 10 minutes of silence, lines of 4,096 bytes.
    fn default() -> Self {
        Self {
            implicit: false,
            explicit_tls: true,
            require_secure: false,
            session_reuse: SessionReuse::default(),
            passive_ports: PassivePorts::Any,
            passive_hosts: PassiveHosts::default(),
            proxies: Vec::new(),
            direct_data: false,
            active_mode: false,
            code_prompt: CodePrompt::default(),
            idle: Duration::from_secs(600),
            command_limit: 4096,
            texts: FtpTexts::default(),
        }
    }
}

/// What all connections of a door share.
pub(crate) struct House {
    pub(crate) settings: FtpSettings,
    pub(crate) tls: TlsMaterial,
    pub(crate) porter: Box<dyn Porter>,
    /// Whose TLS tickets are out.
    pub(crate) kin: Kin,
    pub(crate) advertised: Advertised,
    pub(crate) proxies: Arc<[IpNet]>,
}

impl House {
    fn new(porter: Box<dyn Porter>, settings: FtpSettings, tls: TlsMaterial) -> Arc<Self> {
        let (advertised, proxies) = (Advertised::new(&settings.passive_hosts), settings.proxies.clone().into());
        Arc::new(Self { settings, tls, porter, kin: Kin::default(), advertised, proxies })
    }

    /// Whether the greeting says how to give a code.
    pub(crate) fn tells_of_codes(&self) -> bool {
        self.settings.code_prompt == CodePrompt::Compound && self.porter.may_ask()
    }
}

/// The door.
pub struct FtpDoor(Arc<House>);

impl FtpDoor {
    /// A door with these settings.
    #[must_use]
    pub fn new(gate: Gate, settings: FtpSettings, tls: TlsMaterial) -> Self {
        Self(House::new(Box::new(gate), settings, tls))
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn with_porter(porter: Box<dyn Porter>, settings: FtpSettings, tls: TlsMaterial) -> Self {
        Self(House::new(porter, settings, tls))
    }
}

#[async_trait::async_trait]
impl Frontend for FtpDoor {
    fn door(&self) -> Door {
        if self.0.settings.implicit { Door::Ftps } else { Door::Ftp }
    }

    async fn serve(&self, connection: Connection) {
        let peer = connection.peer;
        match Talk::new(Arc::clone(&self.0), connection) {
            Ok(talk) => talk.run().await,
            Err(error) => tracing::debug!(%peer, %error, "the connection cannot be served"),
        }
    }
}
