//! The door as the listener sees it, and its settings.

use crate::{PassiveHost, PassivePorts, conversation::Talk, porter::Porter};
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
    pub require_session_reuse: bool,
    /// Ports for passive data connections.
    pub passive_ports: PassivePorts,
    /// The address told to passive clients.
    pub passive_host: PassiveHost,
    /// Whether `PORT` and `EPRT` are obeyed; then only to the client's own address.
    pub active_mode: bool,
    /// How a code is asked for.
    pub code_prompt: CodePrompt,
    /// How long a session may say nothing, and a transfer stand still.
    pub idle: Duration,
    /// The longest command line in bytes (N2).
    pub command_limit: usize,
}

impl Default for FtpSettings {
    /// Explicit TLS offered, any passive port, no active mode, 10 minutes of silence, lines of 4,096 bytes.
    fn default() -> Self {
        Self {
            implicit: false,
            explicit_tls: true,
            require_secure: false,
            require_session_reuse: false,
            passive_ports: PassivePorts::Any,
            passive_host: PassiveHost::FromConnection,
            active_mode: false,
            code_prompt: CodePrompt::default(),
            idle: Duration::from_secs(600),
            command_limit: 4096,
        }
    }
}

/// What all connections of a door share.
pub(crate) struct House {
    pub(crate) settings: FtpSettings,
    pub(crate) tls: TlsMaterial,
    pub(crate) porter: Box<dyn Porter>,
}

impl House {
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
        Self(Arc::new(House { settings, tls, porter: Box::new(gate) }))
    }

    #[cfg(test)]
    pub(crate) fn with_porter(porter: Box<dyn Porter>, settings: FtpSettings, tls: TlsMaterial) -> Self {
        Self(Arc::new(House { settings, tls, porter }))
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
