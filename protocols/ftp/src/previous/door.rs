//! One connection from its greeting to its end.

use crate::{
    PassiveHost, PassivePorts,
    login::{Login, TicketOffice},
    passive::PassiveBinder,
    storage::Tree,
};
use libunftp::{
    ServerBuilder,
    options::{FtpsRequired, PassiveHost as ToldHost, SiteMd5},
};
use lockgate_access::Gate;
use lockgate_model::{Door, Protocol};
use lockgate_net::{Connection, Frontend, TlsMaterial};
use std::{io, net::Shutdown, path::PathBuf, sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// What a greeting says where nobody needs a code.
const GREETING: &str = "Lockgate ready";
/// What it says while any user may need one.
const GREETING_WITH_CODE: &str = "Lockgate ready. With a second factor, give PASSWORD:CODE as the password";

/// The settings of one listener.
#[derive(Clone, Debug)]
pub struct FtpSettings {
    /// Whether `AUTH TLS` is offered.
    pub explicit_tls: bool,
    /// Whether logins and data in clear are refused.
    pub require_secure: bool,
    /// Ports for passive data connections.
    pub passive_ports: PassivePorts,
    /// The address told to passive clients.
    pub passive_host: PassiveHost,
    /// How long a session may say nothing.
    pub idle: Duration,
}

/// The door.
pub struct FtpDoor {
    gate: Gate,
    settings: FtpSettings,
    tls: TlsMaterial,
}

impl FtpDoor {
    /// A door with these settings.
    #[must_use]
    pub fn new(gate: Gate, settings: FtpSettings, tls: TlsMaterial) -> Self {
        Self { gate, settings, tls }
    }

    fn server(&self, login: &Arc<Login>) -> Result<libunftp::Server<Tree, crate::login::FtpUser>, libunftp::ServerError> {
        let asks = [Protocol::Ftp, Protocol::Ftps].into_iter().any(|protocol| self.gate.may_ask(protocol));
        let mut builder = ServerBuilder::with_user_detail_provider(Box::new(|| Tree), Arc::new(TicketOffice(Arc::clone(login))))
            .authenticator(Arc::clone(login) as _)
            .greeting(if asks { GREETING_WITH_CODE } else { GREETING })
            .idle_session_timeout(self.settings.idle.as_secs().max(1))
            .binder(PassiveBinder(self.settings.passive_ports.clone()))
            .passive_host(match &self.settings.passive_host {
                PassiveHost::FromConnection => ToldHost::FromConnection,
                PassiveHost::Ip(address) => ToldHost::Ip(*address),
                PassiveHost::Name(name) => ToldHost::Dns(name.clone()),
            })
            .sitemd5(SiteMd5::None);
        if self.settings.explicit_tls {
            builder = builder.ftps_manual::<PathBuf>(self.tls.session_config(&[b"ftp"]));
            if self.settings.require_secure {
                builder = builder.ftps_required(FtpsRequired::All, FtpsRequired::All);
            }
        }
        builder.build()
    }
}

#[async_trait::async_trait]
impl Frontend for FtpDoor {
    fn door(&self) -> Door {
        Door::Ftp
    }

    async fn serve(&self, connection: Connection) {
        let Connection { stream, peer, local, stranger, stop, .. } = connection;
        let stranger = Arc::new(stranger);
        let evicted = stranger.evicted();
        let login = Arc::new(Login::new(self.gate.clone(), Door::Ftp, peer, local, stranger));
        let (stream, handle) = match with_handle(stream) {
            Ok(pair) => pair,
            Err(error) => {
                tracing::debug!(%peer, %error, "the connection cannot be served");
                return;
            }
        };
        let server = match self.server(&login) {
            Ok(server) => server,
            Err(error) => {
                tracing::error!(%error, "the FTP door cannot be built");
                return;
            }
        };
        let service = server.service(stream);
        tokio::pin!(service);
        tokio::select! {
            _ = &mut service => {}
            why = evicted => tracing::debug!(%peer, ?why, "nobody logged in"),
            () = login.exhausted() => tracing::debug!(%peer, "too many wrong tries"),
            () = login.ended() => tracing::debug!(%peer, "the session was ended"),
            () = stop.stopping() => {}
        }
        // The library's own tasks outlive a dropped `service`; a closed socket ends them.
        let _ = handle.shutdown(Shutdown::Both);
        login.close();
    }
}

/// A second handle to the socket, with which to close it.
fn with_handle(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std()?;
    let handle = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, handle))
}
