//! Whether an account may log in here and now: step 4 of one login, looked at only behind a right first factor.

use crate::reason::Reason;
use lockgate_model::Origin;
use lockgate_users::{Account, UnixMillis};

/// The account's own word on a login from `origin`. Session limits are looked at when the session is made.
pub(crate) fn standing(account: &Account, origin: &Origin, now: UnixMillis) -> Result<(), Reason> {
    if !account.enabled {
        return Err(Reason::Disabled);
    }
    if account.expires.is_some_and(|end| end <= now) {
        return Err(Reason::Expired);
    }
    if !account.allowed_protocols.contains(origin.protocol) {
        return Err(Reason::ProtocolNotAllowed);
    }
    let address = origin.address();
    if !account.ip_restrictions.is_empty() && !account.ip_restrictions.iter().any(|network| network.contains(&address))
    {
        return Err(Reason::AddressNotAllowed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{account, origin};
    use lockgate_model::{Protocol, ProtocolSet};

    #[test]
    fn an_account_stands_until_something_of_it_says_no() {
        let here = origin(Protocol::Sftp, "192.0.2.1");
        let fine = account("alice");
        assert_eq!(standing(&fine, &here, 1000), Ok(()));
        type Change = fn(&mut Account);
        let cases: [(Change, Reason); 5] = [
            (|a| a.enabled = false, Reason::Disabled),
            (|a| a.expires = Some(1000), Reason::Expired),
            (|a| a.allowed_protocols = ProtocolSet::NONE, Reason::ProtocolNotAllowed),
            (
                |a| a.allowed_protocols = [Protocol::Ftp, Protocol::Webdav].into_iter().collect(),
                Reason::ProtocolNotAllowed,
            ),
            (|a| a.ip_restrictions = vec!["198.51.100.0/24".parse().unwrap()], Reason::AddressNotAllowed),
        ];
        for (change, reason) in cases {
            let mut account = fine.clone();
            change(&mut account);
            assert_eq!(standing(&account, &here, 1000), Err(reason));
        }
    }

    #[test]
    fn an_end_in_the_future_and_a_network_that_fits_do_not_matter() {
        let mut account = account("alice");
        account.expires = Some(1001);
        account.ip_restrictions = vec!["192.0.2.0/24".parse().unwrap()];
        assert_eq!(standing(&account, &origin(Protocol::Sftp, "::ffff:192.0.2.1"), 1000), Ok(()));
    }
}
