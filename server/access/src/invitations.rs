//! Invitations to enrol: single use, kept by the digest of their token under `invite/` in the ledger.

use crate::{Ledger, LedgerError};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockgate_model::UserName;
use lockgate_users::SecretKey;

/// Whom an invitation is for, without using it up.
///
/// # Errors
/// [`LedgerError`].
pub async fn read(ledger: &dyn Ledger, server: &SecretKey, token: &str) -> Result<Option<UserName>, LedgerError> {
    Ok(invited(ledger.get(&key(server, token)).await?))
}

/// Uses an invitation up: of many that ask at once, one gets the name of the invited user.
///
/// # Errors
/// [`LedgerError`].
pub async fn redeem(ledger: &dyn Ledger, server: &SecretKey, token: &str) -> Result<Option<UserName>, LedgerError> {
    Ok(invited(ledger.take(&key(server, token)).await?))
}

/// The ledger key of an invitation, under which the name of the invited user is put.
#[must_use]
pub fn key(server: &SecretKey, token: &str) -> String {
    format!("invite/{}", URL_SAFE_NO_PAD.encode(server.keyed_digest("invite", token.as_bytes())))
}

fn invited(value: Option<Vec<u8>>) -> Option<UserName> {
    UserName::new(std::str::from_utf8(&value?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::MemoryLedger;
    use std::time::Duration;

    #[tokio::test]
    async fn an_invitation_is_redeemed_once() {
        let (ledger, server) = (MemoryLedger::new(), SecretKey::generate().unwrap());
        ledger.put(&key(&server, "token"), b"alice", Duration::from_secs(60)).await.unwrap();
        assert!(read(&ledger, &server, "token").await.unwrap().is_some());
        assert!(redeem(&ledger, &server, "tokem").await.unwrap().is_none());
        assert_eq!(redeem(&ledger, &server, "token").await.unwrap().unwrap().as_str(), "alice");
        assert!(redeem(&ledger, &server, "token").await.unwrap().is_none());
    }
}
