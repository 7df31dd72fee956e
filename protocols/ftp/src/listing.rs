//! `LIST`, `NLST`, `MLSD`, `MLST` and `STAT NAME`: what is in a folder, in three shapes.
//!
//! Folders are streamed in batches, so that a large one costs no memory. A name is on one line whatever is in it (see
//! [`crate::names`]). A folder that cannot be read to its end is told with an error, not as a shorter folder.

use crate::{
    command::{Rows, Shown},
    data::{Cut, Data},
    date::{column, stamp},
    job::Errand,
    names::{self, fits, shown},
    reply::{Reply, refused},
    tls::Direction,
};
use lockgate_model::{Permission, VPath};
use lockgate_vfs::{Entry, Kind, Metadata, Vfs, VfsError};
use std::{fmt::Write as _, time::SystemTime};

/// Rows read at once.
const BATCH: usize = 512;
/// Rows told on the control connection by `STAT NAME`.
const MOST_ON_CONTROL: usize = 1_000;

/// What is to be listed.
pub(crate) struct Listing {
    pub(crate) cwd: VPath,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) rows: Rows,
    pub(crate) facts: Shown,
}

impl Listing {
    /// What it is of.
    ///
    /// # Errors
    /// The reply to give.
    pub(crate) fn path(&self) -> Result<VPath, Reply> {
        self.name.as_ref().map_or_else(|| Ok(self.cwd.clone()), |name| names::path(&self.cwd, name))
    }
}

/// Where the rows come from.
enum Source {
    /// A folder, and what its names must fit.
    Folder { rows: Box<lockgate_vfs::Listing>, pattern: Option<Vec<u8>> },
    /// One file, until it was told.
    File(Option<Box<Entry>>),
}

/// A listing under way.
struct Opened {
    source: Source,
    /// The folder of the rows.
    folder: VPath,
    /// What stands before names in `NLST`, so that each can be given back as it is.
    prefix: String,
}

/// Serves one listing over a data connection.
pub(crate) async fn list(mut errand: Errand, listing: Listing) -> Result<Reply, Reply> {
    let mut opened = open(&errand.vfs, &listing).await?;
    let mut data = errand.open(Direction::Down, Reply::new(150, "Here comes the listing")).await?;
    let sent = send(&errand, &listing, &mut opened, &mut data).await;
    match sent {
        Ok(()) => data.finish(errand.patience).await.map_err(|cut| cut.reply())?,
        Err(cut) => return Err(cut.reply()),
    }
    Ok(Reply::new(226, "Listed"))
}

async fn send(errand: &Errand, listing: &Listing, opened: &mut Opened, data: &mut Data) -> Result<(), Cut> {
    let writer = Writer::new(&errand.vfs, listing);
    loop {
        let batch = opened.next().await?;
        if batch.is_empty() {
            return Ok(());
        }
        let mut text = String::with_capacity(batch.len() * 80);
        for entry in &batch {
            writer.row(&mut text, opened, entry).await;
        }
        data.write_all(text.as_bytes(), errand.patience).await?;
        errand.progress.moved(text.len() as u64);
    }
}

/// The rows of a listing for the control connection: not all of a large folder.
pub(crate) async fn on_control(vfs: Vfs, listing: Listing) -> Result<Reply, Reply> {
    let mut opened = open(&vfs, &listing).await?;
    let code = if matches!(opened.source, Source::File(_)) { 213 } else { 212 };
    let writer = Writer::new(&vfs, &listing);
    let mut lines = Vec::new();
    loop {
        let batch = opened.next().await.map_err(|error| refused(&error))?;
        for entry in &batch {
            let mut text = String::new();
            writer.row(&mut text, &opened, entry).await;
            lines.push(text.trim_end().to_owned());
        }
        if batch.is_empty() || lines.len() > MOST_ON_CONTROL {
            break;
        }
    }
    if lines.len() > MOST_ON_CONTROL {
        lines.truncate(MOST_ON_CONTROL);
        lines.push("... and more: use LIST".to_owned());
    }
    let what = listing.name.as_deref().map_or_else(|| shown(listing.cwd.as_bytes()), shown);
    Ok(Reply::listing(code, format!("Status of {what}:"), lines))
}

/// `MLST`: the facts of one name, with its whole path behind them (RFC 3659 section 7.2).
pub(crate) async fn facts_of(vfs: &Vfs, path: &VPath, facts: Shown) -> Result<Reply, Reply> {
    let metadata = vfs.stat(path).await.map_err(|error| refused(&error))?;
    let name = shown(path.as_bytes());
    let line = format!("{} {name}", fact_line(vfs, path, &metadata, facts));
    Ok(Reply::listing(250, format!("Facts of {name}:"), vec![line]))
}

/// Finds what is to be listed, before any data connection is made: so that what is not there is told as such.
async fn open(vfs: &Vfs, listing: &Listing) -> Result<Opened, Reply> {
    let Some(name) = &listing.name else {
        return folder(vfs, &listing.cwd, None, String::new()).await.map_err(|error| refused(&error));
    };
    let path = names::path(&listing.cwd, name)?;
    let typed = shown(name);
    let before_name = typed.rfind('/').map_or(0, |slash| slash + 1);
    match vfs.stat(&path).await {
        Ok(found) if found.kind == Kind::Folder => {
            let prefix = if typed.ends_with('/') { typed } else { format!("{typed}/") };
            folder(vfs, &path, None, prefix).await.map_err(|error| refused(&error))
        }
        Ok(_) if listing.rows == Rows::Facts => Err(refused(&VfsError::NotFolder(path))),
        Ok(metadata) => {
            let name = path.file_name().unwrap_or_default().to_vec();
            let folder = path.parent().unwrap_or_else(VPath::root);
            let prefix = typed.get(..before_name).unwrap_or_default().to_owned();
            Ok(Opened { source: Source::File(Some(Box::new(Entry { name, metadata }))), folder, prefix })
        }
        Err(VfsError::NotFound(_)) if listing.rows != Rows::Facts && is_pattern(&path) => {
            let pattern = path.file_name().map(<[u8]>::to_vec);
            let place = path.parent().unwrap_or_else(VPath::root);
            let prefix = typed.get(..before_name).unwrap_or_default().to_owned();
            folder(vfs, &place, pattern, prefix).await.map_err(|error| refused(&error))
        }
        Err(error) => Err(refused(&error)),
    }
}

fn is_pattern(path: &VPath) -> bool {
    path.file_name().is_some_and(|name| name.iter().any(|byte| b"*?".contains(byte)))
}

async fn folder(vfs: &Vfs, path: &VPath, pattern: Option<Vec<u8>>, prefix: String) -> Result<Opened, VfsError> {
    let rows = Box::new(vfs.list(path).await?);
    Ok(Opened { source: Source::Folder { rows, pattern }, folder: path.clone(), prefix })
}

impl Opened {
    /// The next rows; empty at the end.
    async fn next(&mut self) -> Result<Vec<Entry>, VfsError> {
        match &mut self.source {
            Source::Folder { rows, pattern } => loop {
                let mut batch = rows.next_batch(BATCH).await?;
                let end = batch.is_empty();
                if let Some(pattern) = pattern {
                    batch.retain(|entry| fits(pattern, &entry.name));
                }
                if end || !batch.is_empty() {
                    return Ok(batch);
                }
            },
            Source::File(entry) => Ok(entry.take().map(|entry| *entry).into_iter().collect()),
        }
    }
}

/// Writes rows.
struct Writer<'a> {
    vfs: &'a Vfs,
    rows: Rows,
    facts: Shown,
    now: SystemTime,
}

impl<'a> Writer<'a> {
    fn new(vfs: &'a Vfs, listing: &Listing) -> Self {
        Self { vfs, rows: listing.rows, facts: listing.facts, now: SystemTime::now() }
    }

    async fn row(&self, text: &mut String, opened: &Opened, entry: &Entry) {
        let name = shown(&entry.name);
        match self.rows {
            Rows::Names => text.push_str(&format!("{}{name}\r\n", opened.prefix)),
            Rows::Long => {
                long(text, &entry.metadata, self.now);
                text.push_str(&name);
                if entry.metadata.kind == Kind::Link
                    && let Ok(path) = opened.folder.child(&entry.name)
                    && let Ok(target) = self.vfs.read_link(&path).await
                {
                    text.push_str(&format!(" -> {}", shown(&target)));
                }
                text.push_str("\r\n");
            }
            Rows::Facts => {
                let Ok(path) = opened.folder.child(&entry.name) else { return };
                // What a link leads to is what a client can do something with.
                let led = match entry.metadata.kind {
                    Kind::Link => self.vfs.stat(&path).await.ok(),
                    Kind::File | Kind::Folder => None,
                };
                let facts = fact_line(self.vfs, &path, led.as_ref().unwrap_or(&entry.metadata), self.facts);
                text.push_str(&format!("{facts} {name}\r\n"));
            }
        }
    }
}

/// The columns of `ls -l`, which clients take apart. Owner and group are numbers: the host's names are nobody's business.
fn long(text: &mut String, metadata: &Metadata, now: SystemTime) {
    text.push(match metadata.kind {
        Kind::File => '-',
        Kind::Folder => 'd',
        Kind::Link => 'l',
    });
    for shift in [6, 3, 0] {
        let bits = metadata.mode >> shift;
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if bits & bit != 0 { letter } else { '-' });
        }
    }
    let Metadata { links, uid, gid, size, modified, .. } = metadata;
    // Writing to a String cannot fail.
    let _ = write!(text, " {links:>3} {uid:<8} {gid:<8} {size:>12} {} ", column(*modified, now));
}

/// The facts of RFC 3659 section 7.5, without the blank and the name.
fn fact_line(vfs: &Vfs, path: &VPath, metadata: &Metadata, facts: Shown) -> String {
    let mut line = String::with_capacity(96);
    for (place, fact) in Shown::FACTS.into_iter().enumerate().filter(|(place, _)| facts.has(*place)) {
        let folder = metadata.kind == Kind::Folder;
        let value = match place {
            0 => match metadata.kind {
                Kind::File => "file".to_owned(),
                Kind::Folder => "dir".to_owned(),
                Kind::Link => "OS.unix=symlink".to_owned(),
            },
            1 if folder => continue,
            1 => metadata.size.to_string(),
            2 => stamp(metadata.modified),
            3 => perm(vfs, path, metadata.kind),
            4 => format!("{:x}g{:x}", metadata.unique.0, metadata.unique.1),
            _ => format!("0{:03o}", metadata.mode),
        };
        let _ = write!(line, "{fact}={value};");
    }
    line
}

/// What may be done (RFC 3659 section 7.5.5). A help for clients, not the check.
fn perm(vfs: &Vfs, path: &VPath, kind: Kind) -> String {
    use Permission::{Delete, List, MakeFolder, Read, Rename, Write};
    let rights = vfs.permissions(path);
    let letters: &[(char, &[Permission])] = if kind == Kind::Folder {
        &[
            ('c', &[Write]),
            ('d', &[Delete]),
            ('e', &[List]),
            ('f', &[Rename]),
            ('l', &[List]),
            ('m', &[MakeFolder]),
            ('p', &[Delete]),
        ]
    } else {
        &[('a', &[Write, Delete]), ('d', &[Delete]), ('f', &[Rename]), ('r', &[Read]), ('w', &[Write, Delete])]
    };
    let allowed = letters.iter().filter(|(_, needed)| needed.iter().all(|right| rights.allows(*right)));
    allowed.map(|(letter, _)| *letter).collect()
}
