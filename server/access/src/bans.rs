//! Addresses that are shut out, as the ledger keeps them: `ban/ADDRESS` with the reason as its value.
//!
//! The ledger outlives the process and is shared with commands that change it from outside; a running gate copies it into the
//! listeners' [`lockgate_net::AddressBook`] every second.

use crate::{Ledger, LedgerError};
use lockgate_model::address_key;
use std::{net::IpAddr, time::Duration};

const PREFIX: &str = "ban/";
/// How many bans are looked at.
const LIMIT: u32 = 65_536;

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The address; for IPv6 the first of the /64 that is shut out.
    pub address: IpAddr,
    /// Unix milliseconds when it ends.
    pub until_ms: u64,
    /// Why, in a fixed word.
    pub reason: String,
}

/// The bans in force.
///
/// # Errors
/// [`LedgerError`].
pub async fn list(ledger: &dyn Ledger) -> Result<Vec<Ban>, LedgerError> {
    let rows = ledger.list(PREFIX, LIMIT).await?;
    Ok(rows.into_iter().filter_map(|(key, value, until_ms)| parse(&key, &value, until_ms)).collect())
}

/// Shuts an address out for `life`, over an earlier ban.
///
/// # Errors
/// [`LedgerError`].
pub async fn add(ledger: &dyn Ledger, address: IpAddr, life: Duration, reason: &str) -> Result<(), LedgerError> {
    ledger.put(&key(address), reason.as_bytes(), life).await
}

/// Lets an address in again.
///
/// # Errors
/// [`LedgerError`].
pub async fn clear(ledger: &dyn Ledger, address: IpAddr) -> Result<(), LedgerError> {
    ledger.remove(&key(address)).await?;
    ledger.remove(&format!("failed/{}", address_key(address))).await
}

fn key(address: IpAddr) -> String {
    format!("{PREFIX}{}", address_key(address))
}

fn parse(key: &str, value: &[u8], until_ms: u64) -> Option<Ban> {
    let text = key.strip_prefix(PREFIX)?;
    let address = text.strip_suffix("/64").unwrap_or(text).parse().ok()?;
    Some(Ban { address, until_ms, reason: String::from_utf8_lossy(value).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::MemoryLedger;

    #[tokio::test]
    async fn a_ban_of_an_ipv6_address_is_one_of_its_network() {
        let ledger = MemoryLedger::new();
        add(&ledger, "2001:db8:1:2::7".parse().unwrap(), Duration::from_secs(60), "manual").await.unwrap();
        add(&ledger, "192.0.2.1".parse().unwrap(), Duration::from_secs(60), "manual").await.unwrap();
        let bans = list(&ledger).await.unwrap();
        assert_eq!(bans.len(), 2);
        assert!(bans.iter().any(|ban| ban.address == "2001:db8:1:2::".parse::<IpAddr>().unwrap()));
        clear(&ledger, "2001:db8:1:2::8".parse().unwrap()).await.unwrap();
        assert_eq!(list(&ledger).await.unwrap().len(), 1);
    }
}
