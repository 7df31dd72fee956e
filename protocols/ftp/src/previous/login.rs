//! From `USER` and `PASS` to a session.
//!
//! libunftp hands only a name from its authenticator to the user detail, so the session is parked under a random one-time
//! ticket and the ticket travels as the name. The name that the client sent is never looked up a second time.

use lockgate_access::{Evidence, Gate, Outcome, Session};
use lockgate_model::{Conversation, Door, Origin, Protocol, Secret};
use lockgate_net::Stranger;
use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, watch};
use unftp_core::auth::{
    AuthenticationError, Authenticator, ChannelEncryptionState, Credentials, Principal, UserDetail, UserDetailError, UserDetailProvider,
};

/// Wrong tries of one connection before it is closed (N7a).
const TRIES: u32 = 3;
/// How long the last refusal has to reach the client before the connection is closed.
const LAST_WORD: Duration = Duration::from_millis(250);

/// One connection's way to a session.
pub(crate) struct Login {
    gate: Gate,
    door: Door,
    peer: SocketAddr,
    local: SocketAddr,
    stranger: Arc<Stranger>,
    /// Holding it is being the one check under way: PASS lines sent in a burst wait for each other.
    failures: tokio::sync::Mutex<u32>,
    tickets: Mutex<HashMap<String, Session>>,
    granted: watch::Sender<Option<Session>>,
    exhausted: Notify,
}

impl Login {
    pub(crate) fn new(gate: Gate, door: Door, peer: SocketAddr, local: SocketAddr, stranger: Arc<Stranger>) -> Self {
        Self {
            gate,
            door,
            peer,
            local,
            stranger,
            failures: tokio::sync::Mutex::new(0),
            tickets: Mutex::default(),
            granted: watch::Sender::new(None),
            exhausted: Notify::new(),
        }
    }

    /// Resolves when the connection had all its tries.
    pub(crate) async fn exhausted(&self) {
        self.exhausted.notified().await;
        tokio::time::sleep(LAST_WORD).await;
    }

    /// Resolves when the session of this connection must end.
    pub(crate) async fn ended(&self) {
        let mut granted = self.granted.subscribe();
        let session = match granted.wait_for(Option::is_some).await {
            Ok(session) => session.clone(),
            Err(_) => None,
        };
        match session {
            // The handle is dropped before waiting: it must not be what keeps the session alive.
            Some(session) => {
                let ended = session.ended();
                drop(session);
                ended.await;
            }
            None => std::future::pending().await,
        }
    }

    /// Lets go of the session, so that it ends with the connection.
    pub(crate) fn close(&self) {
        self.granted.send_replace(None);
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn log_in(&self, name: &str, credentials: &Credentials) -> Option<Session> {
        let secure = matches!(credentials.command_channel_security, ChannelEncryptionState::Tls);
        let origin = Origin {
            door: self.door,
            protocol: if secure { Protocol::Ftps } else { Protocol::Ftp },
            peer: self.peer,
            local: self.local,
            client_certificate: None,
            conversation: Conversation::SingleShot,
        };
        let evidence = Evidence::Password(Secret::new(credentials.password.clone().unwrap_or_default()));
        if let Some(session) = self.gate.resume(&origin, name, &evidence).await {
            return Some(session);
        }
        match self.gate.knock(origin, name).submit(evidence).await {
            Outcome::Granted(session) => Some(session),
            // A client that cannot be asked gets no challenge; if one came all the same, the answer is no.
            Outcome::Challenge(_) | Outcome::Denied(_) => None,
        }
    }

    fn ticket_for(&self, session: Session) -> Result<String, AuthenticationError> {
        let mut bytes = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuthenticationError::new("no random numbers"))?;
        let ticket: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket.clone(), session);
        Ok(ticket)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.peer)
    }
}

#[async_trait::async_trait]
impl Authenticator for Login {
    async fn authenticate(&self, name: &str, credentials: &Credentials) -> Result<Principal, AuthenticationError> {
        let mut failures = self.failures.lock().await;
        if *failures >= TRIES {
            return Err(AuthenticationError::BadPassword);
        }
        let Some(session) = self.log_in(name, credentials).await else {
            *failures += 1;
            if *failures >= TRIES {
                self.exhausted.notify_one();
            }
            return Err(AuthenticationError::BadPassword);
        };
        self.stranger.admit();
        self.granted.send_replace(Some(session.clone()));
        Ok(Principal { username: self.ticket_for(session)? })
    }
}

/// The session as libunftp carries it to each storage call.
pub(crate) struct FtpUser(pub(crate) Session);

impl UserDetail for FtpUser {}

impl fmt::Display for FtpUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.user().fmt(f)
    }
}

impl fmt::Debug for FtpUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FtpUser({})", self.0.user())
    }
}

/// Trades a ticket for its session, once.
#[derive(Debug)]
pub(crate) struct TicketOffice(pub(crate) Arc<Login>);

#[async_trait::async_trait]
impl UserDetailProvider for TicketOffice {
    type User = FtpUser;

    async fn provide_user_detail(&self, principal: &Principal) -> Result<FtpUser, UserDetailError> {
        let session = self.0.tickets.lock().unwrap_or_else(PoisonError::into_inner).remove(&principal.username);
        session.map(FtpUser).ok_or_else(|| UserDetailError::new("no such ticket"))
    }
}
