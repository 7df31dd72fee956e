//! `DELETE`, `COPY` and `MOVE`, with the tree's own promises: a file that is replaced stays whole until the new one is in its place.

use crate::{
    Body,
    address::{self, Address},
    condition::proceeds,
    edge::{Ask, Depth, depth},
    reply::{Reply, bare, failed, said},
};
use http::{HeaderMap, Response, StatusCode};
use lockgate_vfs::{Kind, Metadata, Overwrite, VfsError};

/// Answers `DELETE`. Always deep (RFC 4918 section 9.6.1).
pub(crate) async fn delete(ask: Ask) -> Reply {
    if !matches!(depth(&ask.parts.headers), None | Some(Depth::Infinity)) {
        return Err(said(StatusCode::BAD_REQUEST, "a collection is deleted with all that is in it"));
    }
    let path = &ask.at.path;
    let facts = ask.vfs.lstat(path).await.map_err(failed)?;
    conditions(&ask, &facts).await?;
    remove(&ask, &ask.at, facts.kind).await.map_err(failed)?;
    ask.vfs.locks().forget(path);
    Ok(bare(StatusCode::NO_CONTENT))
}

/// Answers `COPY`.
pub(crate) async fn copy(ask: Ask) -> Reply {
    let shallow = match depth(&ask.parts.headers) {
        None | Some(Depth::Infinity) => false,
        Some(Depth::Zero) => true,
        Some(Depth::One) => return Err(said(StatusCode::BAD_REQUEST, "a copy is of depth 0 or infinity")),
    };
    let from = &ask.at.path;
    let facts = ask.vfs.stat(from).await.map_err(failed)?;
    let target = Target::find(&ask, &facts).await?;
    target.clear(&ask, facts.kind).await?;
    let to = &target.at.path;
    let result = match facts.kind {
        Kind::Folder if shallow => ask.vfs.make_folder(to).await,
        Kind::Folder => ask.vfs.copy_tree(from, to, Overwrite::Refuse).await,
        Kind::File | Kind::Link => ask.vfs.copy(from, to, target.overwrite()).await.map(drop),
    };
    result.map_err(refused)?;
    Ok(target.done())
}

/// Answers `MOVE`.
pub(crate) async fn rename(ask: Ask) -> Reply {
    if !matches!(depth(&ask.parts.headers), None | Some(Depth::Infinity)) {
        return Err(said(StatusCode::BAD_REQUEST, "a collection is moved with all that is in it"));
    }
    let from = &ask.at.path;
    let facts = ask.vfs.lstat(from).await.map_err(failed)?;
    let target = Target::find(&ask, &facts).await?;
    if let Some(lock) = ask.vfs.locks().conflict(from, true, &tokens(&ask)) {
        return Err(failed(VfsError::Locked(lock.path)));
    }
    target.clear(&ask, facts.kind).await?;
    ask.vfs.rename(from, &target.at.path, target.overwrite()).await.map_err(refused)?;
    ask.vfs.locks().forget(from);
    Ok(target.done())
}

/// Where it goes.
struct Target {
    at: Address,
    /// What is there now.
    there: Option<Kind>,
}

impl Target {
    async fn find(ask: &Ask, source: &Metadata) -> Result<Self, Response<Body>> {
        let headers = &ask.parts.headers;
        let at = address::destination(headers, ask.host.as_deref())
            .map_err(|status| said(status, "the Destination is missing, or is not in this tree"))?;
        conditions(ask, source).await?;
        if at.path.is_within(&ask.at.path) || ask.at.path.is_within(&at.path) {
            return Err(said(StatusCode::FORBIDDEN, "source and destination lie in each other"));
        }
        let parent =
            address::parent(&at.path).ok_or_else(|| said(StatusCode::FORBIDDEN, "the root cannot be replaced"))?;
        if !ask.vfs.stat(&parent).await.is_ok_and(|facts| facts.kind == Kind::Folder) {
            return Err(said(StatusCode::CONFLICT, "the folder of the destination does not exist"));
        }
        let there = match ask.vfs.lstat(&at.path).await {
            Ok(facts) => Some(facts.kind),
            Err(VfsError::NotFound(_)) => None,
            Err(error) => return Err(failed(error)),
        };
        if there.is_some() && !overwrites(headers) {
            return Err(said(StatusCode::PRECONDITION_FAILED, "the destination exists"));
        }
        if let Some(lock) = ask.vfs.locks().conflict(&at.path, true, &tokens(ask)) {
            return Err(failed(VfsError::Locked(lock.path)));
        }
        Ok(Self { at, there })
    }

    /// Takes away what cannot be replaced in one step: anything but a file by a file.
    async fn clear(&self, ask: &Ask, source: Kind) -> Result<(), Response<Body>> {
        match self.there {
            Some(there) if there == Kind::Folder || source == Kind::Folder => {
                remove(ask, &self.at, there).await.map_err(failed)
            }
            _ => Ok(()),
        }
    }

    fn overwrite(&self) -> Overwrite {
        if self.there.is_some() { Overwrite::Replace } else { Overwrite::Refuse }
    }

    fn done(&self) -> Response<Body> {
        bare(if self.there.is_some() { StatusCode::NO_CONTENT } else { StatusCode::CREATED })
    }
}

async fn remove(ask: &Ask, at: &Address, kind: Kind) -> Result<(), VfsError> {
    match kind {
        Kind::Folder => ask.vfs.remove_tree(&at.path).await,
        Kind::File | Kind::Link => ask.vfs.remove_file(&at.path).await,
    }
}

async fn conditions(ask: &Ask, facts: &Metadata) -> Result<(), Response<Body>> {
    if !proceeds(&ask.parts.headers, Some(facts)) {
        return Err(said(StatusCode::PRECONDITION_FAILED, "a condition of the request does not hold"));
    }
    ask.holds().await
}

fn tokens(ask: &Ask) -> Vec<lockgate_vfs::LockToken> {
    ask.condition.as_ref().map(crate::condition::If::tokens).unwrap_or_default()
}

/// `Overwrite: T` is the default (RFC 4918 section 10.6). What is neither is taken for the careful one.
fn overwrites(headers: &HeaderMap) -> bool {
    headers.get("overwrite").is_none_or(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"t"))
}

/// A missing name after all checks is the destination's folder.
fn refused(error: VfsError) -> Response<Body> {
    match error {
        VfsError::NotFound(_) | VfsError::NotFolder(_) => {
            said(StatusCode::CONFLICT, "the folder of the destination does not exist")
        }
        VfsError::Exists(_) => said(StatusCode::PRECONDITION_FAILED, "the destination exists"),
        other => failed(other),
    }
}
