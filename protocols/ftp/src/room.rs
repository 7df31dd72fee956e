//! What a guest can do: one method for each command that touches files.
//!
//! A room is made by a login and by nothing else, so none of this can be reached before one. It checks no right: the tree
//! does, and says why not. What takes a while becomes a [`Job`].

mod changes;
mod moving;

use crate::{
    command::{Digest, Family, Inside, Mode, Representation, Shown},
    conversation::Ways,
    data::Agreed,
    deflate::Level,
    digest::digest,
    door::House,
    job::{Job, quiet},
    listing::{Listing, facts_of, on_control},
    names::{self, quoted, shown},
    passive::{Callers, Waiting},
    porter::Guest,
    reply::{Reply, refused, say},
    tls::DataGuard,
};
use lockgate_model::VPath;
use lockgate_vfs::{Kind, Vfs};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// What a command leads to.
pub(crate) enum Next {
    Say(Reply),
    Run(Job),
}

/// How data connections are protected at the moment.
pub(crate) enum Protection {
    /// Not at all, and need not be.
    None,
    /// Not at all, but must be.
    Missing,
    Tls(DataGuard),
}

/// A guest, and where in the tree they stand.
pub(crate) struct Room {
    house: Arc<House>,
    guest: Guest,
    ways: Ways,
    cwd: VPath,
    representation: Representation,
    mode: Mode,
    /// How hard `MODE Z` tries.
    level: Level,
    /// `REST`, for the next transfer.
    restart: u64,
    /// `ALLO`, for the next upload.
    announced: Option<u64>,
    /// `RNFR`, for the command right behind it.
    renamed: Option<VPath>,
    agreed: Agreed,
    only_epsv: bool,
    facts: Shown,
    digest: Digest,
    /// `RANG`, for the next `HASH`.
    range: Option<(u64, u64)>,
}

impl From<Reply> for Next {
    fn from(reply: Reply) -> Self {
        Self::Say(reply)
    }
}

impl Room {
    pub(crate) fn new(house: Arc<House>, guest: Guest, ways: Ways) -> Self {
        Self {
            house,
            guest,
            ways,
            cwd: VPath::root(),
            // RFC 959 section 5.1; clients that mean bytes say so.
            representation: Representation::Ascii,
            mode: Mode::Stream,
            level: Level::default(),
            restart: 0,
            announced: None,
            renamed: None,
            agreed: Agreed::Nothing,
            only_epsv: false,
            facts: Shown::all(),
            digest: Digest::Sha256,
            range: None,
        }
    }

    /// Lets a passive client in. Cancel safe.
    pub(crate) async fn arrival(&mut self) {
        self.agreed.arrive().await;
    }

    /// Whose it is.
    pub(crate) fn name(&self) -> &str {
        &self.guest.name
    }

    /// The facts that listings show.
    pub(crate) const fn facts(&self) -> Shown {
        self.facts
    }

    /// The digest of `HASH`.
    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// A line that is no command has come. What `RNFR` began is over, as behind any other (RFC 959 section 4.1.3); so is an
    /// offset, where a transfer was meant or another offset: the next upload would be written into the middle of a file.
    pub(crate) fn misunderstood(&mut self, line: &[u8]) {
        self.renamed = None;
        let verb = line.get(..4).unwrap_or_default();
        if [&b"RETR"[..], b"STOR", b"APPE", b"REST"].iter().any(|meant| verb.eq_ignore_ascii_case(meant)) {
            self.restart = 0;
        }
    }

    /// Obeys a command.
    pub(crate) async fn obey(&mut self, command: Inside, protection: Protection) -> Next {
        self.guest.activity.touch();
        let renamed = self.renamed.take();
        let next = match command {
            Inside::Rnto(name) => self.rnto(renamed, &name).await.map(Next::Say),
            Inside::Retr(_) | Inside::Stor(_) | Inside::Appe(_) | Inside::Stou | Inside::List(..) => {
                self.move_data(command, protection)
            }
            Inside::Pasv | Inside::Epsv(_) | Inside::EpsvAll | Inside::Port(_) => {
                self.agree(command).await.map(Next::Say)
            }
            Inside::Hash(_) | Inside::Check(..) | Inside::Stat(Some(_)) => self.look_long(command),
            Inside::Mkd(_) | Inside::Rmd(_) | Inside::Dele(_) | Inside::Rnfr(_) => {
                self.change(command).await.map(Next::Say)
            }
            Inside::Mfmt(..) | Inside::Mff(..) | Inside::SiteChmod(..) | Inside::SiteUtime(..) => {
                self.change_facts(command).await.map(Next::Say)
            }
            Inside::Cwd(_)
            | Inside::Cdup
            | Inside::Pwd
            | Inside::Size(_)
            | Inside::Mdtm(_)
            | Inside::Mlst(_)
            | Inside::Avbl(_) => self.look(command).await.map(Next::Say),
            settings => self.set(settings).map(Next::Say),
        };
        next.unwrap_or_else(Next::Say)
    }

    fn vfs(&self) -> &Vfs {
        &self.guest.vfs
    }

    /// The path that a name means here.
    fn path(&self, name: &[u8]) -> Result<VPath, Reply> {
        names::path(&self.cwd, name)
    }

    /// Commands that only look.
    async fn look(&mut self, command: Inside) -> Result<Reply, Reply> {
        match command {
            Inside::Cwd(name) => self.go(self.path(&name)?).await,
            Inside::Cdup => self.go(self.cwd.parent().unwrap_or_else(VPath::root)).await,
            Inside::Size(name) => self.size(&name).await,
            Inside::Mdtm(name) => {
                let found = self.vfs().stat(&self.path(&name)?).await.map_err(|error| refused(&error))?;
                Ok(Reply::new(213, crate::date::stamp(found.modified)))
            }
            Inside::Mlst(name) => {
                let path = name.map_or_else(|| Ok(self.cwd.clone()), |name| self.path(&name))?;
                facts_of(self.vfs(), &path, self.facts).await
            }
            Inside::Avbl(name) => {
                let path = name.map_or_else(|| Ok(self.cwd.clone()), |name| self.path(&name))?;
                let space = self.vfs().space(&path).await.map_err(|error| refused(&error))?;
                Ok(Reply::new(213, space.free.to_string()))
            }
            _ => Ok(Reply::new(257, format!("{} is the folder you are in", quoted(&self.cwd)))),
        }
    }

    async fn go(&mut self, path: VPath) -> Result<Reply, Reply> {
        let found = self.vfs().stat(&path).await.map_err(|error| refused(&error))?;
        if found.kind != Kind::Folder {
            return Err(refused(&lockgate_vfs::VfsError::NotFolder(path)));
        }
        self.cwd = path;
        Ok(say::FOLDER_CHANGED)
    }

    /// The size as it would be transferred (RFC 3659 section 4): in TYPE A that takes reading, so large files are not told.
    async fn size(&self, name: &[u8]) -> Result<Reply, Reply> {
        let path = self.path(name)?;
        let found = self.vfs().stat(&path).await.map_err(|error| refused(&error))?;
        if found.kind != Kind::File {
            return Err(say::NOT_A_FILE);
        }
        if self.representation == Representation::Image {
            return Ok(Reply::new(213, found.size.to_string()));
        }
        if found.size > MOST_MEASURED {
            return Err(say::TOO_LARGE_FOR_ASCII);
        }
        let file = self.vfs().open(&path).await.map_err(|error| refused(&error))?;
        let (mut at, mut size, mut ends) = (0, 0, crate::transfer::ToWire::default());
        let mut buffer = vec![0; 64 * 1024];
        while at < MOST_MEASURED {
            let length = file.read_at(at, &mut buffer).await.map_err(|error| refused(&error))?;
            if length == 0 {
                break;
            }
            size += ends.measure(buffer.get(..length).unwrap_or_default());
            at += length as u64;
        }
        Ok(Reply::new(213, size.to_string()))
    }

    /// Commands that read much.
    fn look_long(&mut self, command: Inside) -> Result<Next, Reply> {
        let (vfs, activity) = (self.vfs().clone(), self.guest.activity.clone());
        let job = match command {
            Inside::Hash(name) => {
                let (path, algorithm, part) = (self.path(&name)?, self.digest, self.range.take());
                quiet(activity.begin("HASH", &path), |progress| async move {
                    let (hex, end) = digest(&vfs, &path, algorithm, part, &progress).await?;
                    let from = part.map_or(0, |(from, _)| from);
                    Ok(Reply::new(213, format!("{} {from}-{end} {hex} {}", algorithm.as_str(), shown(&name))))
                })
            }
            Inside::Check(algorithm, part, name) => {
                let path = self.path(&name)?;
                quiet(activity.begin(algorithm.as_str(), &path), |progress| async move {
                    let (hex, _) = digest(&vfs, &path, algorithm, part, &progress).await?;
                    Ok(Reply::new(250, hex.to_ascii_uppercase()))
                })
            }
            Inside::Stat(name) => {
                let listing =
                    Listing { cwd: self.cwd.clone(), name, rows: crate::command::Rows::Long, facts: self.facts };
                quiet(activity.begin("STAT", &listing.path()?), |_| on_control(vfs, listing))
            }
            _ => return Err(say::NOT_HERE),
        };
        Ok(Next::Run(job))
    }

    /// Agrees on the next data connection.
    async fn agree(&mut self, command: Inside) -> Result<Reply, Reply> {
        self.agreed = Agreed::Nothing;
        match command {
            Inside::EpsvAll => {
                self.only_epsv = true;
                Ok(say::EPSV_ALL)
            }
            Inside::Epsv(family) => {
                let own = if self.ways.here.is_ipv4() { Family::V4 } else { Family::V6 };
                if family.is_some_and(|family| family != own) {
                    return Err(self.other_family());
                }
                let port = self.listen()?;
                Ok(Reply::new(229, format!("Entering Extended Passive Mode (|||{port}|)")))
            }
            _ if self.only_epsv => Err(say::ONLY_EPSV),
            Inside::Port(to) => self.agree_active(to),
            _ => {
                let told = self.house.advertised.address(self.ways.peer.ip(), self.ways.local.ip()).await;
                let [a, b, c, d] = told.ok_or(say::PASV_IS_IPV4)?.octets();
                let [high, low] = self.listen()?.to_be_bytes();
                Ok(Reply::new(227, format!("Entering Passive Mode ({a},{b},{c},{d},{high},{low})")))
            }
        }
    }

    fn listen(&mut self) -> Result<u16, Reply> {
        let settings = &self.house.settings;
        let callers = Callers {
            peer: self.ways.peer.ip(),
            proxies: Arc::clone(&self.house.proxies),
            direct: settings.direct_data,
        };
        let waiting = Waiting::open(&settings.passive_ports, self.ways.here, callers);
        let opened = waiting.and_then(|waiting| Ok((waiting.port()?, waiting)));
        let (port, waiting) = opened.map_err(|error| {
            tracing::debug!(%error, "no port for a data connection");
            say::NO_PORT
        })?;
        self.agreed = Agreed::Passive(waiting);
        Ok(port)
    }

    /// The refusal of a family that is not the one of this connection (RFC 2428 section 2).
    fn other_family(&self) -> Reply {
        let number = if self.ways.here.is_ipv4() { 1 } else { 2 };
        Reply::new(522, format!("Network protocol not supported, use ({number})"))
    }

    /// Only the client itself, and no port of a service: everything else would make this server somebody's tool (RFC 2577).
    fn agree_active(&mut self, to: SocketAddr) -> Result<Reply, Reply> {
        if !self.house.settings.active_mode {
            return Err(say::ACTIVE_IS_OFF);
        }
        if to.ip().to_canonical().is_ipv4() != self.ways.here.is_ipv4() {
            return Err(self.other_family());
        }
        if to.ip().to_canonical() != self.ways.peer.ip().to_canonical() {
            return Err(say::FOREIGN_ADDRESS);
        }
        if to.port() < 1024 {
            return Err(say::LOW_PORT);
        }
        let from: IpAddr = self.ways.here;
        self.agreed = Agreed::Active { to, from };
        Ok(say::ACTIVE_ADDRESS)
    }

    /// Commands that set what later ones look at.
    fn set(&mut self, command: Inside) -> Result<Reply, Reply> {
        match command {
            Inside::Rest(at) if at > 0 && self.representation == Representation::Ascii => {
                self.restart = 0;
                Err(say::REST_NEEDS_IMAGE)
            }
            Inside::Rest(at) => {
                self.restart = at;
                Ok(Reply::new(350, format!("The next transfer begins at {at}")))
            }
            Inside::Allo(bytes) => {
                self.announced = Some(bytes);
                Ok(say::ROOM_IS_CHECKED)
            }
            Inside::Type(representation) => {
                self.representation = representation;
                Ok(if representation == Representation::Ascii { say::TYPE_ASCII } else { say::TYPE_IMAGE })
            }
            Inside::Mode(mode) => {
                self.mode = mode;
                Ok(if mode == Mode::Deflate { say::DEFLATE_MODE } else { say::STREAM_MODE })
            }
            Inside::OptsModeZ(level) => {
                self.level = level.unwrap_or(self.level);
                Ok(Reply::new(200, format!("MODE Z LEVEL set to {}", self.level.as_number())))
            }
            Inside::Stru => Ok(say::FILE_STRUCTURE),
            Inside::Abor => {
                self.agreed = Agreed::Nothing;
                Ok(say::NO_TRANSFER)
            }
            Inside::Stat(_) => Ok(self.status()),
            Inside::Rang(1, 0) => {
                self.range = None;
                Ok(Reply::new(350, "The next HASH is of the whole file"))
            }
            Inside::Rang(from, to) => {
                self.range = Some((from, to));
                Ok(Reply::new(350, format!("The next HASH is of the bytes from {from} to {to}")))
            }
            Inside::OptsMlst(facts) => {
                self.facts = facts;
                Ok(Reply::new(200, format!("MLST OPTS {}", facts.names()).trim_end().to_owned()))
            }
            Inside::OptsHash(wish) => {
                self.digest = wish.unwrap_or(self.digest);
                Ok(Reply::new(200, self.digest.as_str()))
            }
            Inside::SiteHelp => Ok(Reply::listing(
                214,
                "SITE knows:",
                vec!["CHMOD MODE NAME".into(), "UTIME YYYYMMDDHHMMSS NAME".into(), "HELP".into()],
            )),
            _ => Err(say::NOT_HERE),
        }
    }

    fn status(&self) -> Reply {
        let representation = if self.representation == Representation::Ascii { "ASCII" } else { "image" };
        let mode = if self.mode == Mode::Deflate { "deflate" } else { "stream" };
        let lines = vec![
            format!("Logged in as {}", shown(self.guest.name.as_bytes())),
            format!("In {}", shown(self.cwd.as_bytes())),
            format!("Type {representation}, structure file, mode {mode}"),
        ];
        Reply::listing(211, "Lockgate FTP:", lines)
    }
}

/// Files up to this many bytes are measured for `SIZE` in TYPE A.
const MOST_MEASURED: u64 = 4 << 20;
