//! Folders, and what becomes of names: make, remove, move, copy.

use crate::{
    body::{Body, empty},
    json, names,
    refusal::Refusal,
    visit::Ask,
};
use http::{Response, StatusCode};
use lockgate_access::Session;
use lockgate_http_semantics::{Access, Verdict, judge};
use lockgate_model::VPath;
use lockgate_vfs::{Kind, Overwrite, VfsError};
use serde::Deserialize;
use std::future::Future;

#[derive(Deserialize)]
struct FromTo {
    from: String,
    to: String,
    #[serde(default)]
    overwrite: bool,
}

impl FromTo {
    fn paths(&self) -> Result<(VPath, VPath, Overwrite), Refusal> {
        let from = names::from_text(&self.from).map_err(|refusal| refusal.about("from"))?;
        let to = names::from_text(&self.to).map_err(|refusal| refusal.about("to"))?;
        let overwrite = if self.overwrite { Overwrite::Replace } else { Overwrite::Refuse };
        Ok((from, to, overwrite))
    }
}

impl Ask {
    /// `DELETE /api/v1/files/PATH`. A folder must be empty, unless the query says `recursive=true`.
    pub(crate) async fn delete(self, raw: &str) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        let path = names::from_url(raw)?;
        let vfs = caller.session.vfs();
        let facts = vfs.lstat(&path).await?;
        if judge(&self.parts.headers, Access::Changes, Some((&facts).into())) != Verdict::Proceed {
            return Err(Refusal::precondition());
        }
        let recursive =
            self.parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "recursive=true"));
        match facts.kind {
            Kind::Folder if recursive => while_lives(&caller.session, vfs.remove_tree(&path)).await?,
            Kind::Folder => vfs.remove_folder(&path).await?,
            Kind::File | Kind::Link => vfs.remove_file(&path).await?,
        }
        Ok(done(StatusCode::NO_CONTENT))
    }

    /// `POST /api/v1/mkdir/PATH`.
    pub(crate) async fn make_folder(self, raw: &str) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        let path = names::from_url(raw)?;
        caller.session.vfs().make_folder(&path).await?;
        Ok(done(StatusCode::CREATED))
    }

    /// `POST /api/v1/move`.
    pub(crate) async fn move_entry(self, body: Body) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        let wish: FromTo = json::read(&self.parts.headers, body).await?;
        let (from, to, overwrite) = wish.paths()?;
        while_lives(&caller.session, caller.session.vfs().rename(&from, &to, overwrite)).await?;
        Ok(done(StatusCode::NO_CONTENT))
    }

    /// `POST /api/v1/copy`: a file, or a folder with everything in it.
    pub(crate) async fn copy_entry(self, body: Body) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        let wish: FromTo = json::read(&self.parts.headers, body).await?;
        let (from, to, overwrite) = wish.paths()?;
        let vfs = caller.session.vfs();
        if vfs.stat(&from).await?.kind == Kind::Folder {
            if overwrite == Overwrite::Refuse && !matches!(vfs.lstat(&to).await, Err(VfsError::NotFound(_))) {
                return Err(VfsError::Exists(to).into());
            }
            while_lives(&caller.session, vfs.copy_tree(&from, &to, overwrite)).await?;
        } else {
            while_lives(&caller.session, vfs.copy(&from, &to, overwrite)).await?;
        }
        Ok(done(StatusCode::NO_CONTENT))
    }
}

/// Work that may take long, as long as the session lives.
async fn while_lives<T>(session: &Session, work: impl Future<Output = Result<T, VfsError>>) -> Result<T, Refusal> {
    until(session.ended(), work).await
}

async fn until<T, E>(
    ended: impl Future<Output = E>,
    work: impl Future<Output = Result<T, VfsError>>,
) -> Result<T, Refusal> {
    tokio::select! {
        biased;
        _ = ended => Err(Refusal::denied()),
        done = work => Ok(done?),
    }
}

fn done(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test]
    async fn long_work_ends_with_its_session() {
        assert_eq!(until(ready(()), pending::<Result<(), _>>()).await.unwrap_err().status, StatusCode::UNAUTHORIZED);
        assert_eq!(until(pending::<()>(), ready(Ok(7))).await.unwrap(), 7);
    }
}
