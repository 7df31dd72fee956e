//! The last step: a session is made, or joined.
//!
//! The only place that makes one. Whoever calls has everything proven; what can still go wrong (files that cannot be opened,
//! too many sessions) is a denial like any other.

use crate::{
    Activity, Session, SessionId,
    first_factor::First,
    gate::{Inner, Rules},
    grants::{Fingerprint, Hold},
    reason::{Reason, Refusal},
    session::{Place, Room, SessionInner},
};
use lockgate_model::Origin;
use lockgate_users::Account;
use std::{sync::Arc, time::SystemTime};
use tokio::sync::watch;

/// Everything a session is made of.
pub(crate) struct Opening<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) account: &'a Account,
    pub(crate) origin: &'a Origin,
    pub(crate) first: First,
    /// The second factor that was proven; `None`: none was due.
    pub(crate) factor: Option<String>,
    /// Under which fingerprint the login may be repeated.
    pub(crate) remembered: Option<Fingerprint>,
}

impl Inner {
    /// Makes the session of a finished login, remembers it, and remembers where the user came from.
    pub(crate) async fn open(self: &Arc<Self>, opening: Opening<'_>) -> Result<Session, Refusal> {
        // A client that repeats the same whole evidence in parallel, none of it a code, gets one session.
        if let Some(fingerprint) = &opening.remembered
            && let Some(session) = self.grants.same(fingerprint, opening.account.epoch, self.lives())
        {
            return Ok(session);
        }
        // Of two whole logins with the same evidence the connections belong to one grant.
        let hold = opening.remembered.filter(|_| splits_sessions(opening.origin)).map(|fingerprint| {
            let held = self.grants.hold(&fingerprint, opening.account.epoch, self.lives());
            held.unwrap_or_else(|| Hold::new(&self.clock))
        });
        let session = self.make(&opening, hold.clone()).await?;
        let address = opening.origin.address_key();
        match self.accounts.knows_address(Some(&opening.account.name), &address).await {
            Ok(true) => {}
            Ok(false) => {
                if let Err(error) = self.accounts.remember_address(&opening.account.name, &address).await {
                    tracing::warn!(%error, "where a user came from was not remembered");
                }
            }
            Err(error) => tracing::warn!(%error, "where a user came from was not remembered"),
        }
        // Last, when nothing more is waited for: a login that was too slow in the end must not be one that can be repeated.
        if let Some(fingerprint) = opening.remembered {
            self.grants.remember(fingerprint, &session, hold, self.clock.now_ms());
        }
        Ok(session)
    }

    /// Makes a session.
    pub(crate) async fn make(self: &Arc<Self>, opening: &Opening<'_>, hold: Option<Hold>) -> Result<Session, Refusal> {
        let Opening { rules, account, origin, first, .. } = opening;
        let id = SessionId(crate::codes::random_id()?);
        let room = Room {
            of_user: account.max_logins,
            of_address: rules.settings.max_sessions_per_address,
            in_all: rules.settings.max_sessions,
        };
        let place = self.sessions.enter(&id, &account.name, origin, room)?;
        let tree = (self.tree)(account);
        // For the operator alone: the store's own words name no folder of the host.
        let folders: Vec<_> = tree.mounts.iter().map(|mount| mount.source.clone()).collect();
        let vfs = self.storage.open(tree, id.as_str().to_owned()).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            let user = &account.name;
            tracing::error!(%user, ?folders, %error, cause, "a login is denied: the user's files cannot be opened");
            Reason::StorageFailed
        })?;
        let session = Session {
            inner: Arc::new(SessionInner {
                id,
                user: account.name.clone(),
                admin: account.admin,
                origin: (*origin).clone(),
                vfs,
                since: SystemTime::now(),
                factor: opening.factor.clone(),
                first: *first,
                epoch: account.epoch,
                judged_by: rules.serial.into(),
                end: watch::Sender::new(None),
                place,
                until_ms: account.expires.unwrap_or(u64::MAX).into(),
                hold: hold.map(Hold::held),
                activity: Activity::default(),
            }),
        };
        Place::fill(&session);
        Ok(session)
    }
}

/// Whether each connection of a repeated login is a session of its own.
pub(crate) fn splits_sessions(origin: &Origin) -> bool {
    use lockgate_model::Protocol::{Ftp, Ftps, Http, Https, Sftp, Webdav};
    match origin.protocol {
        Ftp | Ftps | Sftp => true,
        Http | Https | Webdav => false,
    }
}
