//! How many messages may go out (N10), so that neither a user's phone nor the operator's bill can be flooded.
//!
//! Counted before a message goes, whether or not it then arrives, and only behind a right first factor. Within one login a
//! channel that failed may be followed by the next one without waiting; every message still counts for the hour.

use crate::{FactorUser, Ledger, LedgerError, SendLimits};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockgate_model::Origin;
use lockgate_users::SecretKey;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// The limits of one login.
pub(crate) struct Sending<'a> {
    pub(crate) ledger: &'a dyn Ledger,
    pub(crate) server: &'a SecretKey,
    pub(crate) limits: SendLimits,
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
        if !again && !self.pause_is_over(&format!("send/user/{user_key}")).await? {
            return Ok(false);
        }
        if !self.pause_is_over(&format!("send/to/{to}")).await? {
            return Ok(false);
        }
        let SendLimits { per_hour, per_hour_and_address, per_minute, .. } = self.limits;
        let counts = [
            (format!("send/user-hour/{user_key}"), HOUR, per_hour),
            (format!("send/to-hour/{to}"), HOUR, per_hour),
            (format!("send/address-hour/{}", origin.address_key()), HOUR, per_hour_and_address),
            ("send/all".to_owned(), MINUTE, per_minute),
        ];
        for (key, window, limit) in counts {
            if self.ledger.bump_fixed(&key, window).await? > u64::from(limit) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the pause since the last message is over; the next one begins.
    async fn pause_is_over(&self, key: &str) -> Result<bool, LedgerError> {
        let pause = self.limits.interval;
        Ok(pause.is_zero() || self.ledger.use_once(key, pause).await?)
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
