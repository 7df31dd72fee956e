//! Sending: `scp -f`.

use super::{
    Plan,
    command::{Word, fits},
    sink::below_home,
    talk::{Break, Reply, Talk},
};
use lockgate_model::VPath;
use lockgate_vfs::{Entry, Kind, Listing, Metadata, Vfs, VfsError};
use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// A folder that is being sent.
struct Level {
    path: VPath,
    listing: Listing,
    rows: VecDeque<Entry>,
}

/// Sends what the plan's paths stand for.
pub(super) async fn send<R, W>(plan: &Plan, vfs: &Vfs, talk: &mut Talk<R, W>) -> Result<(), Break>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if talk.reply().await? == Reply::Failed {
        return talk.result();
    }
    for word in &plan.paths {
        match expand(vfs, word).await {
            Ok(paths) => {
                for path in paths {
                    send_tree(plan, vfs, talk, path).await?;
                }
            }
            Err(error) => talk.complain(&VPath::root(), error).await?,
        }
    }
    talk.result()
}

/// A file, or a folder with everything in it.
async fn send_tree<R, W>(plan: &Plan, vfs: &Vfs, talk: &mut Talk<R, W>, path: VPath) -> Result<(), Break>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut levels: Vec<Level> = Vec::new();
    let mut next = Some(path);
    loop {
        if let Some(path) = next.take() {
            if let Some(level) = send_one(plan, vfs, talk, path, levels.len()).await? {
                levels.push(level);
            }
        } else if let Some(level) = levels.last_mut() {
            match level.next(vfs).await {
                Ok(Some(path)) => next = Some(path),
                Ok(None) => {
                    talk.send(b"E\n").await?;
                    talk.reply().await?;
                    levels.pop();
                }
                Err((path, error)) => {
                    talk.complain(&path, error).await?;
                    level.rows.clear();
                }
            }
        }
        if next.is_none() && levels.is_empty() {
            return Ok(());
        }
    }
}

/// Sends a file, or announces a folder; the folder is then to be gone through.
async fn send_one<R, W>(
    plan: &Plan,
    vfs: &Vfs,
    talk: &mut Talk<R, W>,
    path: VPath,
    depth: usize,
) -> Result<Option<Level>, Break>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let metadata = match vfs.stat(&path).await {
        Ok(metadata) => metadata,
        Err(error) => return talk.complain(&path, error).await.map(|()| None),
    };
    let name = path.file_name().unwrap_or(b".");
    if name.contains(&b'\n') {
        return talk.complain(&path, "scp cannot send a name with a line break in it").await.map(|()| None);
    }
    match metadata.kind {
        Kind::Folder if !plan.recursive => talk.complain(&path, "is a folder").await.map(|()| None),
        Kind::Folder if depth >= DEEPEST => talk.complain(&path, "too deep").await.map(|()| None),
        Kind::Folder => {
            let listing = match vfs.list(&path).await {
                Ok(listing) => listing,
                Err(error) => return talk.complain(&path, error).await.map(|()| None),
            };
            let accepted = announce(plan, talk, b'D', &metadata, 0, name).await?;
            Ok(accepted.then_some(Level { path, listing, rows: VecDeque::new() }))
        }
        Kind::File | Kind::Link => send_file(plan, vfs, talk, &path).await.map(|()| None),
    }
}

async fn send_file<R, W>(plan: &Plan, vfs: &Vfs, talk: &mut Talk<R, W>, path: &VPath) -> Result<(), Break>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let reader = match vfs.open(path).await {
        Ok(reader) => reader,
        Err(error) => return talk.complain(path, error).await,
    };
    let size = reader.metadata().size;
    let name = path.file_name().unwrap_or_default();
    if !announce(plan, talk, b'C', reader.metadata(), size, name).await? {
        return Ok(());
    }
    let mut room = vec![0; PIECE];
    let mut at = 0;
    let mut failure: Option<VfsError> = None;
    while at < size {
        let most = usize::try_from(size - at).unwrap_or(usize::MAX).min(PIECE);
        let part = room.get_mut(..most).unwrap_or_default();
        // The announced length must be sent, whatever becomes of the file: zeros where there is nothing, and then the truth.
        let length = match failure {
            Some(_) => most,
            None => match reader.read_at(at, part).await {
                Ok(length) if length > 0 => length,
                other => {
                    part.fill(0);
                    failure = Some(other.err().unwrap_or(VfsError::Changed(path.clone())));
                    most
                }
            },
        };
        talk.send(room.get(..length).unwrap_or_default()).await?;
        at += length as u64;
    }
    match failure {
        None => talk.fine().await?,
        Some(error) => talk.complain(path, error).await?,
    }
    talk.reply().await.map(drop)
}

/// The line before a file or folder, and the line with its times before that; whether the client takes it.
async fn announce<R, W>(
    plan: &Plan,
    talk: &mut Talk<R, W>,
    kind: u8,
    metadata: &Metadata,
    size: u64,
    name: &[u8],
) -> Result<bool, Break>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if plan.preserve {
        let (modified, accessed) = (seconds(metadata.modified), seconds(metadata.accessed));
        talk.send(format!("T{modified} 0 {accessed} 0\n").as_bytes()).await?;
        if talk.reply().await? == Reply::Failed {
            return Ok(false);
        }
    }
    let mut line = format!("{}{:04o} {size} ", char::from(kind), metadata.mode & 0o777).into_bytes();
    line.extend_from_slice(name);
    line.push(b'\n');
    talk.send(&line).await?;
    Ok(talk.reply().await? == Reply::Fine)
}

impl Level {
    /// The next path in the folder. A link to a folder is left out: it may lead round in circles.
    async fn next(&mut self, vfs: &Vfs) -> Result<Option<VPath>, (VPath, VfsError)> {
        loop {
            let Some(row) = self.rows.pop_front() else {
                let rows = self.listing.next_batch(ROWS).await.map_err(|error| (self.path.clone(), error))?;
                if rows.is_empty() {
                    return Ok(None);
                }
                self.rows = rows.into();
                continue;
            };
            let Ok(path) = self.path.child(&row.name) else { continue };
            let leads_round = row.metadata.kind == Kind::Link
                && !matches!(vfs.stat(&path).await, Ok(metadata) if metadata.kind == Kind::File);
            if !leads_round {
                return Ok(Some(path));
            }
        }
    }
}

/// The paths that a word stands for: itself, or what its last part fits.
async fn expand(vfs: &Vfs, word: &Word) -> Result<Vec<VPath>, VfsError> {
    let bytes = below_home(&word.bytes);
    if !word.is_pattern {
        return VPath::parse(bytes).map(|path| vec![path]).map_err(|_| VfsError::BadName);
    }
    let cut = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (folder, pattern) = bytes.split_at(cut);
    let folder = VPath::parse(folder).map_err(|_| VfsError::BadName)?;
    let mut listing = vfs.list(&folder).await?;
    let mut found = Vec::new();
    loop {
        let rows = listing.next_batch(ROWS).await?;
        if rows.is_empty() {
            break;
        }
        found.extend(rows.iter().filter(|row| fits(pattern, &row.name)).filter_map(|row| folder.child(&row.name).ok()));
        if found.len() > MOST_FOUND {
            return Err(VfsError::BadName);
        }
    }
    found.sort();
    if found.is_empty() { Err(VfsError::BadName) } else { Ok(found) }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const PIECE: usize = 128 << 10;
const ROWS: usize = 128;
/// Paths that one pattern may stand for.
const MOST_FOUND: usize = 10_000;
const DEEPEST: usize = 64;
