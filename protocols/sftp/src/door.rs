//! One SSH conversation: russh calls, this answers.
//!
//! Only session channels, on them only the `sftp` subsystem and, where it is switched on, legacy scp. Everything else is
//! refused at once and in so many words, since russh by itself would leave such requests unanswered and clients waiting.

use crate::{
    algorithms,
    frontend::{Notice, Present},
    login::Login,
    scp,
    sftp::{Engine, Later, MOST_HANDLES, Outlet},
    work::Work,
};
use lockgate_access::{Gate, Session};
use lockgate_model::Origin;
use lockgate_net::Stop;
use russh::{
    Channel, ChannelId, ChannelOpenFailure, Pty,
    server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Response, Session as Ssh, VerifiedPublicKey},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The handler of one connection.
pub(crate) struct Door {
    login: Login,
    session: Option<Session>,
    present: Arc<Present>,
    notify: mpsc::UnboundedSender<Notice>,
    work: Work,
    stop: Stop,
    cord: CancellationToken,
    lines: HashMap<ChannelId, Line>,
}

/// What a channel is used for.
enum Line {
    /// Nothing yet. russh's own end of the channel is kept for legacy scp only.
    Fresh(Option<Channel<Msg>>),
    /// The sftp subsystem.
    Sftp(Box<Engine>),
    /// Legacy scp, in a task of its own.
    Scp,
    /// Nothing, and nothing more will come of it.
    Refused,
}

impl Door {
    /// Nobody has said anything yet.
    pub(crate) fn new(
        gate: Gate,
        origin: Origin,
        present: Arc<Present>,
        notify: mpsc::UnboundedSender<Notice>,
        work: Work,
        stop: Stop,
        cord: CancellationToken,
    ) -> Self {
        let login = Login::new(gate, origin);
        Self { login, session: None, present, notify, work, stop, cord, lines: HashMap::new() }
    }

    /// After each step of the login: the watcher learns of a session, or that the tries are used up.
    fn told(&mut self, answer: Auth) -> Auth {
        if let Some(session) = self.login.take_session() {
            let _ = self.notify.send(Notice::Granted(session.clone()));
            self.session = Some(session);
        } else if self.login.is_spent() {
            let _ = self.notify.send(Notice::Spent);
        }
        answer
    }

    /// Ends a channel whose engine is done or has given up.
    fn hang_up(&mut self, id: ChannelId, ssh: &mut Ssh, status: u32) -> Result<(), russh::Error> {
        self.lines.remove(&id);
        ssh.exit_status_request(id, status)?;
        ssh.eof(id)?;
        ssh.close(id)
    }

    /// Refuses a request that a person will have made, and tells why. OpenSSH's client dies of the refusal before it prints
    /// anything that came with it, so the refusal follows the text after a moment.
    fn refuse_with(&mut self, id: ChannelId, ssh: &mut Ssh, why: &'static str) -> Result<(), russh::Error> {
        let Some(line @ Line::Fresh(_)) = self.lines.get_mut(&id) else {
            return ssh.channel_failure(id);
        };
        *line = Line::Refused;
        ssh.extended_data(id, STDERR, why.as_bytes())?;
        let handle = ssh.handle();
        tokio::spawn(async move {
            tokio::time::sleep(TIME_TO_PRINT).await;
            let _ = handle.channel_failure(id).await;
        });
        Ok(())
    }
}

/// Where an engine's replies go.
struct Reply<'a> {
    ssh: &'a mut Ssh,
    id: ChannelId,
}

impl Outlet for Reply<'_> {
    fn send(&mut self, packet: Vec<u8>) -> Result<(), russh::Error> {
        self.ssh.data(self.id, packet)
    }

    fn is_waiting(&self) -> bool {
        self.ssh.has_pending_data(self.id)
    }

    fn later(&self) -> Later {
        let (handle, id) = (self.ssh.handle(), self.id);
        Box::new(move |packet| {
            Box::pin(async move {
                // Where it cannot be sent, the connection is gone.
                let _ = handle.data(id, packet).await;
            })
        })
    }
}

impl Handler for Door {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(self.present.banner.clone())
    }

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        Ok(self.login.none(user))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let answer = self.login.password(user, password).await;
        Ok(self.told(answer))
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        // An unfit key is asked about all the same, with a blob that nobody has: the answer takes one road for all.
        let fit = algorithms::is_fit(offer.algorithm, offer.public_key, self.present.rsa_user_keys);
        let blob = if fit { offer.public_key.to_bytes().unwrap_or_default() } else { Vec::new() };
        Ok(self.login.offer(user, &blob).await)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let fit = algorithms::is_fit(key.algorithm, key.public_key, self.present.rsa_user_keys);
        let Some(blob) = fit.then(|| key.public_key.to_bytes().ok()).flatten() else {
            return Ok(self.login.none(user));
        };
        let answer = self.login.key(user, blob).await;
        Ok(self.told(answer))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let answer = self.login.interactive(user, response).await;
        Ok(self.told(answer))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        if self.session.is_none() || self.lines.len() >= CHANNELS || self.stop.is_stopping() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        // A channel kept but not read would stop the whole connection, so only scp, which reads, gets it.
        self.lines.insert(id, Line::Fresh(self.present.scp_legacy.then_some(channel)));
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, ssh: &mut Ssh) -> Result<(), Self::Error> {
        let (Some(line @ Line::Fresh(_)), Some(session), "sftp") = (self.lines.get_mut(&id), &self.session, name)
        else {
            return ssh.channel_failure(id);
        };
        let (vfs, user) = (session.vfs().clone(), session.user().clone());
        let activity = session.activity().clone();
        let engine = Engine::new(vfs, user, activity, self.work.clone(), self.stop.clone(), self.cord.clone());
        *line = Line::Sftp(Box::new(engine));
        ssh.channel_success(id)
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], ssh: &mut Ssh) -> Result<(), Self::Error> {
        let Some(plan) = scp::Plan::parse(command) else {
            return self.refuse_with(id, ssh, "no commands are run here: use sftp\r\n");
        };
        if !self.present.scp_legacy {
            return self.refuse_with(
                id,
                ssh,
                "scp's old protocol is switched off here: use sftp, or scp without -O\r\n",
            );
        }
        let (Some(line), Some(session)) = (self.lines.get_mut(&id), &self.session) else {
            return ssh.channel_failure(id);
        };
        let channel = match line {
            Line::Fresh(channel) => channel.take(),
            Line::Sftp(_) | Line::Scp | Line::Refused => None,
        };
        let (Some(channel), Some(job)) = (channel, self.work.begin(MOST_HANDLES)) else {
            return ssh.channel_failure(id);
        };
        *line = Line::Scp;
        ssh.channel_success(id)?;
        let (vfs, stop, cord) = (session.vfs().clone(), self.stop.clone(), self.cord.child_token());
        tokio::spawn(scp::run(plan, channel, vfs, job, stop, cord, self.present.idle));
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], ssh: &mut Ssh) -> Result<(), Self::Error> {
        let engine = match self.lines.get_mut(&id) {
            Some(Line::Sftp(engine)) => engine,
            Some(Line::Fresh(channel)) => {
                // Data before a request is nothing to wait for.
                *channel = None;
                return Ok(());
            }
            Some(Line::Scp | Line::Refused) | None => return Ok(()),
        };
        match engine.feed(data, &mut Reply { ssh, id }).await {
            Ok(()) => Ok(()),
            Err(fault) => {
                tracing::debug!(%fault, "an sftp channel is closed");
                self.hang_up(id, ssh, 1)
            }
        }
    }

    async fn window_adjusted(&mut self, id: ChannelId, window: u32, ssh: &mut Ssh) -> Result<(), Self::Error> {
        let Some(Line::Sftp(engine)) = self.lines.get_mut(&id) else {
            return Ok(());
        };
        match engine.resume(window, &mut Reply { ssh, id }).await {
            Ok(()) if engine.is_done() => self.hang_up(id, ssh, 0),
            Ok(()) => Ok(()),
            Err(fault) => {
                tracing::debug!(%fault, "an sftp channel is closed");
                self.hang_up(id, ssh, 1)
            }
        }
    }

    async fn channel_eof(&mut self, id: ChannelId, ssh: &mut Ssh) -> Result<(), Self::Error> {
        match self.lines.get_mut(&id) {
            Some(Line::Sftp(engine)) => {
                engine.end_of_requests();
                if engine.is_done() { self.hang_up(id, ssh, 0) } else { Ok(()) }
            }
            Some(Line::Fresh(_)) => self.hang_up(id, ssh, 1),
            Some(Line::Scp | Line::Refused) | None => Ok(()),
        }
    }

    async fn channel_close(&mut self, id: ChannelId, _ssh: &mut Ssh) -> Result<(), Self::Error> {
        self.lines.remove(&id);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        ssh.channel_failure(id)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        ssh.channel_failure(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        _name: &str,
        _value: &str,
        ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        ssh.channel_failure(id)
    }

    async fn shell_request(&mut self, id: ChannelId, ssh: &mut Ssh) -> Result<(), Self::Error> {
        self.refuse_with(id, ssh, "there is no shell here: use sftp\r\n")
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        ssh: &mut Ssh,
    ) -> Result<(), Self::Error> {
        ssh.channel_failure(id)
    }

    async fn signal(&mut self, id: ChannelId, _signal: russh::Sig, ssh: &mut Ssh) -> Result<(), Self::Error> {
        ssh.channel_failure(id)
    }
}

/// Channels of one connection at once.
const CHANNELS: usize = 10;
/// The stream of messages for a person (RFC 4254 section 5.2).
const STDERR: u32 = 1;
/// How long a client has to print a text before the refusal that it belongs to.
const TIME_TO_PRINT: Duration = Duration::from_millis(100);
