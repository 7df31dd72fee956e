//! `DELETE`, `COPY` and `MOVE`, with the tree's own promises: a file that is replaced stays whole until the new one is in its place.

use crate::{
    Body,
    address::{self, Address},
    condition::proceeds,
    edge::{Ask, Depth, depth},
    reply::{Reply, bare, failed, said},
};
use http::{HeaderMap, Response, StatusCode};
use lockgate_model::VPath;
use lockgate_vfs::{Kind, Metadata, Overwrite, Replacement, Vfs, VfsError};

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
    let facts = ask.vfs.stat_committed(from).await.map_err(failed)?;
    let target = Target::find(&ask, &facts).await?;
    copied(&ask.vfs, from, &target, facts.kind, shallow).await.map_err(refused)?;
    Ok(target.done())
}

/// Puts the copy at the target; what is there goes only once the copy is whole.
async fn copied(vfs: &Vfs, from: &VPath, target: &Target, kind: Kind, shallow: bool) -> Result<(), VfsError> {
    let to = &target.at.path;
    match kind {
        Kind::Folder if shallow && target.there.is_some() => vfs.replace(from, to, Replacement::Folder).await,
        _ if target.there.is_some() => vfs.replace(from, to, Replacement::Copy).await,
        Kind::Folder if shallow => vfs.make_folder(to).await,
        Kind::Folder => vfs.copy_tree(from, to, Overwrite::Refuse).await,
        Kind::File | Kind::Link => vfs.copy(from, to, Overwrite::Refuse).await.map(drop),
    }
}

/// Answers `MOVE`.
pub(crate) async fn rename(ask: Ask) -> Reply {
    if !matches!(depth(&ask.parts.headers), None | Some(Depth::Infinity)) {
        return Err(said(StatusCode::BAD_REQUEST, "a collection is moved with all that is in it"));
    }
    let from = &ask.at.path;
    let facts = ask.vfs.lstat_committed(from).await.map_err(failed)?;
    let target = Target::find(&ask, &facts).await?;
    if let Some(lock) = ask.vfs.locks().conflict(from, true, &tokens(&ask)) {
        return Err(failed(VfsError::Locked(lock.path)));
    }
    moved(&ask.vfs, from, &target).await.map_err(refused)?;
    ask.vfs.locks().forget(from);
    Ok(target.done())
}

/// As [`copied`], of the thing itself.
async fn moved(vfs: &Vfs, from: &VPath, target: &Target) -> Result<(), VfsError> {
    match target.there {
        Some(_) => vfs.replace(from, &target.at.path, Replacement::Move).await,
        None => vfs.rename(from, &target.at.path, Overwrite::Refuse).await,
    }
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
        let parent = at.path.parent().ok_or_else(|| said(StatusCode::FORBIDDEN, "the root cannot be replaced"))?;
        if !ask.vfs.stat(&parent).await.is_ok_and(|facts| facts.kind == Kind::Folder) {
            return Err(said(StatusCode::CONFLICT, "the folder of the destination does not exist"));
        }
        let there = match ask.vfs.lstat_committed(&at.path).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_http_semantics::testing::{House, path};

    async fn target(house: &House, name: &str) -> Target {
        let there = house.vfs.lstat_committed(&path(name)).await.ok().map(|facts| facts.kind);
        Target { at: Address::parse(&format!("/dav{name}")).unwrap(), there }
    }

    #[tokio::test]
    async fn a_copy_or_move_that_fails_leaves_the_old_destination() {
        let house = House::new().await;
        std::fs::create_dir_all(house.on_disk(&format!("deep{}", "/d".repeat(120)))).unwrap();
        std::fs::create_dir(house.on_disk("folder")).unwrap();
        for name in ["folder/f", "file", "deep/f"] {
            house.put(name, b"old");
        }
        for name in ["/folder", "/file"] {
            let target = target(&house, name).await;
            assert!(copied(&house.vfs, &path("/deep"), &target, Kind::Folder, false).await.is_err());
            assert!(moved(&house.vfs, &path("/none"), &target).await.is_err());
            for old in ["folder/f", "file"] {
                assert_eq!(house.bytes(old).unwrap(), b"old");
            }
        }
        assert_eq!(std::fs::read_dir(house.on_disk("")).unwrap().count(), 3, "nothing is left beside them");
    }

    #[tokio::test]
    async fn a_copy_or_move_replaces_whatever_is_at_the_destination() {
        let house = House::new().await;
        for folder in ["new", "old"] {
            std::fs::create_dir(house.on_disk(folder)).unwrap();
        }
        house.put("new/f", b"new");
        house.put("old/g", b"old");
        house.put("file", b"old");
        copied(&house.vfs, &path("/new"), &target(&house, "/old").await, Kind::Folder, false).await.unwrap();
        assert_eq!((house.bytes("old/f").unwrap(), house.bytes("old/g")), (b"new".to_vec(), None));
        copied(&house.vfs, &path("/new"), &target(&house, "/old").await, Kind::Folder, true).await.unwrap();
        assert_eq!(std::fs::read_dir(house.on_disk("old")).unwrap().count(), 0);
        moved(&house.vfs, &path("/new/f"), &target(&house, "/file").await).await.unwrap();
        moved(&house.vfs, &path("/file"), &target(&house, "/old").await).await.unwrap();
        assert_eq!(house.bytes("old").unwrap(), b"new");
    }
}
