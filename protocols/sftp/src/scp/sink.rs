//! Receiving: `scp -t`.

use super::{
    Plan,
    talk::{Break, Reply, Talk},
};
use lockgate_model::VPath;
use lockgate_vfs::{Facts, Intent, Kind, OnAbort, Upload, Vfs, VfsError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};

/// What a line of the client says.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    File {
        mode: u32,
        size: u64,
        name: Vec<u8>,
    },
    Folder {
        mode: u32,
        name: Vec<u8>,
    },
    Up,
    Times {
        modified: SystemTime,
        accessed: SystemTime,
    },
    /// Something failed over there.
    Failed,
}

/// A folder that is being filled, and the facts that it gets when it is full.
struct Level {
    path: VPath,
    facts: Facts,
}

/// Receives files into the one path of the plan.
pub(super) async fn receive<R, W>(plan: &Plan, vfs: &Vfs, talk: &mut Talk<R, W>) -> Result<(), Break>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Some(target) = plan.paths.first().and_then(|word| VPath::parse(below_home(&word.bytes)).ok()) else {
        return Err(talk.give_up("no such file or folder").await);
    };
    let is_folder = matches!(vfs.stat(&target).await, Ok(metadata) if metadata.kind == Kind::Folder);
    if plan.into_folder && !is_folder {
        return Err(talk.give_up(VfsError::NotFolder(target)).await);
    }
    talk.fine().await?;

    let mut levels: Vec<Level> = Vec::new();
    let mut times = Facts::default();
    while let Some(line) = talk.line().await? {
        let Some(line) = Line::parse(&line) else {
            return Err(talk.give_up("a line that is not of scp").await);
        };
        let place = |name: &[u8]| match levels.last() {
            Some(level) => level.path.child(name),
            None if is_folder => target.child(name),
            None => Ok(target.clone()),
        };
        match line {
            Line::Times { modified, accessed } => {
                times = Facts { modified: Some(modified), accessed: Some(accessed), mode: None };
                talk.fine().await?;
            }
            Line::File { mode, size, name } => {
                let facts = facts(plan, std::mem::take(&mut times), mode);
                match place(&name) {
                    Ok(path) => receive_file(vfs, talk, &path, size, facts).await?,
                    Err(_) => return Err(talk.give_up("not a possible name").await),
                }
            }
            Line::Folder { mode, name } => {
                if !plan.recursive || levels.len() >= DEEPEST {
                    return Err(talk.give_up("a folder where none is expected").await);
                }
                let Ok(path) = place(&name) else {
                    return Err(talk.give_up("not a possible name").await);
                };
                if let Err(error) = ensure_folder(vfs, &path).await {
                    return Err(talk.give_up(error).await);
                }
                levels.push(Level { path, facts: facts(plan, std::mem::take(&mut times), mode) });
                talk.fine().await?;
            }
            Line::Up => {
                let Some(level) = levels.pop() else {
                    return Err(talk.give_up("one folder too many was left").await);
                };
                let set = if plan.preserve { vfs.set_facts(&level.path, level.facts).await } else { Ok(()) };
                match set {
                    Ok(()) => talk.fine().await?,
                    Err(error) => talk.complain(&level.path, error).await?,
                }
            }
            Line::Failed => {}
        }
    }
    talk.result()
}

/// One file: all its bytes are taken from the wire whatever becomes of them, since the client will not stop.
async fn receive_file<R, W>(
    vfs: &Vfs,
    talk: &mut Talk<R, W>,
    path: &VPath,
    size: u64,
    facts: Facts,
) -> Result<(), Break>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut upload: Upload = match vfs.create(path, Intent::Create, OnAbort::Keep).await {
        Ok(upload) => upload,
        // Not taken on at all: the client goes on with its next file.
        Err(error) => return talk.complain(path, error).await,
    };
    upload.set_facts(facts);
    talk.fine().await?;

    let mut state: Result<Upload, VfsError> = Ok(upload);
    let mut room = vec![0; PIECE];
    let mut at = 0;
    while at < size {
        let most = usize::try_from(size - at).unwrap_or(usize::MAX).min(PIECE);
        let length = talk.some(room.get_mut(..most).unwrap_or_default()).await?;
        if let Ok(upload) = &mut state
            && let Err(error) = upload.write_at(at, room.get(..length).unwrap_or_default()).await
        {
            state = Err(error);
        }
        at += length as u64;
    }
    // The client's own word that what it sent is the whole file.
    if talk.reply().await? == Reply::Failed {
        drop(state);
        return talk.fine().await;
    }
    let stored = match state {
        Ok(upload) => upload.commit().await.map(drop),
        Err(error) => Err(error),
    };
    match stored {
        Ok(()) => talk.fine().await,
        Err(error) => talk.complain(path, error).await,
    }
}

async fn ensure_folder(vfs: &Vfs, path: &VPath) -> Result<(), VfsError> {
    match vfs.make_folder(path).await {
        Err(VfsError::Exists(path)) if vfs.stat(&path).await?.kind != Kind::Folder => Err(VfsError::NotFolder(path)),
        Err(VfsError::Exists(_)) => Ok(()),
        other => other,
    }
}

fn facts(plan: &Plan, times: Facts, mode: u32) -> Facts {
    if plan.preserve {
        Facts { mode: Some(mode), ..times }
    } else {
        Facts { mode: Some(mode & !0o022), ..Facts::default() }
    }
}

/// `~` and `~/…` are the user's own root, as is everything.
pub(super) fn below_home(path: &[u8]) -> &[u8] {
    match path {
        b"~" => b"",
        [b'~', b'/', rest @ ..] => rest,
        other => other,
    }
}

impl Line {
    fn parse(line: &[u8]) -> Option<Self> {
        let (kind, rest) = line.split_first()?;
        match kind {
            b'C' | b'D' => {
                let mut parts = rest.splitn(3, |byte| *byte == b' ');
                let mode = u32::try_from(number(parts.next()?, 8)?).ok().filter(|mode| *mode <= 0o7777)? & 0o777;
                let size = number(parts.next()?, 10)?;
                let name = parts.next().filter(|name| is_name(name))?.to_vec();
                Some(if *kind == b'C' { Self::File { mode, size, name } } else { Self::Folder { mode, name } })
            }
            b'E' => rest.is_empty().then_some(Self::Up),
            b'T' => {
                let mut parts = rest.split(|byte| *byte == b' ').map(|part| number(part, 10));
                let (modified, _, accessed, _) = (parts.next()??, parts.next()??, parts.next()??, parts.next()??);
                let time = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
                Some(Self::Times { modified: time(modified)?, accessed: time(accessed)? })
            }
            1 => Some(Self::Failed),
            _ => None,
        }
    }
}

fn number(digits: &[u8], base: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u64::from_str_radix(text, base).ok()
}

/// A single name: what leaves the folder is an attack, not a name (CVE-2019-6111 and its kin).
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

const PIECE: usize = 64 << 10;
const DEEPEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_scp_are_understood() {
        assert_eq!(Line::parse(b"C0644 12 a b"), Some(Line::File { mode: 0o644, size: 12, name: b"a b".to_vec() }));
        assert_eq!(Line::parse(b"D0755 0 d"), Some(Line::Folder { mode: 0o755, name: b"d".to_vec() }));
        assert_eq!(Line::parse(b"E"), Some(Line::Up));
        assert!(matches!(Line::parse(b"T1700000000 0 1700000001 0"), Some(Line::Times { .. })));
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused() {
        for line in [
            "C0644 1 ..",
            "C0644 1 ../a",
            "C0644 1 /etc/passwd",
            "C0644 1 .",
            "C0644 1 ",
            "D0755 0 a/b",
            "C0644 1 a\0b",
        ] {
            assert_eq!(Line::parse(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_understood_or_refused(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Line::parse(&line);
        }

        #[test]
        fn any_numbers_are_understood_or_refused(kind in "[CDT]", a in "[0-9+-]{0,25}", b in "[0-9+-]{0,25}") {
            let _ = Line::parse(format!("{kind}{a} {b} {a} {b}").as_bytes());
        }
    }
}
