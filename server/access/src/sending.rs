//! How many messages may go out (N10), so that neither a user's phone nor the operator's bill can be flooded.
//!
//! Counted before a message goes, whether or not it then arrives, and only behind a right first factor. Within one login a
//! channel that failed may be followed by the next one without waiting; every message still counts for the hour.

use crate::{FactorUser, Ledger, LedgerError};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockgate_model::Origin;
use lockgate_users::SecretKey;
use std::time::Duration;

/// One message to a user, and to a destination, in this time.
pub(crate) const PAUSE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// Messages an hour to one user, and to one destination.
const PER_HOUR: u64 = 5;
/// Messages an hour that logins from one address cause.
const PER_ADDRESS: u64 = 20;

/// The limits of one login.
pub(crate) struct Sending<'a> {
    pub(crate) ledger: &'a dyn Ledger,
    pub(crate) server: &'a SecretKey,
    /// All users together in a minute.
    pub(crate) max_per_minute: u32,
}

impl Sending<'_> {
    /// Whether one more message may go to the user. `again`: this login has sent one that did not go through.
    pub(crate) async fn may_send(
        &self,
        user_key: &str,
        user: &FactorUser,
        channel: &str,
        origin: &Origin,
        again: bool,
    ) -> Result<bool, LedgerError> {
        let to = self.destination(user_key, user, channel);
        if !again && !self.ledger.use_once(&format!("send/user/{user_key}"), PAUSE).await? {
            return Ok(false);
        }
        if !self.ledger.use_once(&format!("send/to/{to}"), PAUSE).await? {
            return Ok(false);
        }
        let counts = [
            (format!("send/user-hour/{user_key}"), HOUR, PER_HOUR),
            (format!("send/to-hour/{to}"), HOUR, PER_HOUR),
            (format!("send/address-hour/{}", origin.address_key()), HOUR, PER_ADDRESS),
            ("send/all".to_owned(), MINUTE, self.max_per_minute.into()),
        ];
        for (key, window, limit) in counts {
            if self.ledger.bump_fixed(&key, window).await? > limit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where the message goes, as a keyed digest: two users with one phone share its limits.
    fn destination(&self, user_key: &str, user: &FactorUser, channel: &str) -> String {
        let to = match channel {
            "sms" => user.phone.as_deref(),
            "email" => user.email.as_deref(),
            _ => None,
        };
        let bound = format!("{channel}\n{}", to.unwrap_or(user_key));
        URL_SAFE_NO_PAD.encode(self.server.keyed_digest("ledger-destination", bound.as_bytes()))
    }
}
