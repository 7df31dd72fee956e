//! How many messages may go out (N10), so that neither a user's phone nor the operator's bill can be flooded.
//!
//! Counted before a message goes, whether or not it then arrives, and only behind a right first factor. Within one login a
//! channel that failed may be followed by the next one without waiting; every message still counts for the hour.

use crate::{Ledger, LedgerError, SendLimits};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockgate_model::Origin;
use lockgate_users::{Account, SecretKey};
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
    /// Whether one more message may go to the user. `sent`: where this login has sent one already that did not go through.
    pub(crate) async fn may_send(
        &self,
        user_key: &str,
        account: &Account,
        channel: &str,
        origin: &Origin,
        sent: &mut Vec<String>,
    ) -> Result<bool, LedgerError> {
        let to = destinations(self.server, user_key, account, channel);
        if sent.is_empty() && !self.pause_is_over(&format!("send/user/{user_key}")).await? {
            return Ok(false);
        }
        for place in to.iter().filter(|place| !sent.contains(place)) {
            if !self.pause_is_over(&format!("send/to/{place}")).await? {
                return Ok(false);
            }
        }
        let SendLimits { per_hour, per_hour_and_address, per_minute, .. } = self.limits;
        let mut counts = vec![(format!("send/user-hour/{user_key}"), HOUR, per_hour)];
        counts.extend(to.iter().map(|place| (format!("send/to-hour/{place}"), HOUR, per_hour)));
        counts.extend([
            (format!("send/address-hour/{}", origin.address_key()), HOUR, per_hour_and_address),
            ("send/all".to_owned(), MINUTE, per_minute),
        ]);
        for (key, window, limit) in counts {
            if self.ledger.bump_fixed(&key, window).await? > u64::from(limit) {
                return Ok(false);
            }
        }
        sent.extend(to);
        Ok(true)
    }

    /// Whether the pause since the last message is over; the next one begins.
    async fn pause_is_over(&self, key: &str) -> Result<bool, LedgerError> {
        let pause = self.limits.interval;
        Ok(pause.is_zero() || self.ledger.use_once(key, pause).await?)
    }
}

/// Where a message through `channel` may go, as keyed digests: two users with one phone share its limits, and so do two
/// channels. One of another make gets phone and address alike and is counted for both; for a user who has neither it stands
/// for itself.
pub(crate) fn destinations(server: &SecretKey, user_key: &str, account: &Account, channel: &str) -> Vec<String> {
    let digits = |phone: &String| phone.chars().filter(char::is_ascii_digit).collect::<String>();
    let phone = account.phone.as_ref().filter(|_| channel != "email").map(|phone| format!("phone\n{}", digits(phone)));
    let email = account.email.as_ref().filter(|_| channel != "sms");
    let email = email.map(|email| format!("email\n{}", email.to_ascii_lowercase()));
    let mut to: Vec<String> = phone.into_iter().chain(email).collect();
    if to.is_empty() {
        to.push(format!("channel\n{channel}\n{user_key}"));
    }
    let digest = |bound: &String| URL_SAFE_NO_PAD.encode(server.keyed_digest("ledger-destination", bound.as_bytes()));
    to.iter().map(digest).collect()
}
