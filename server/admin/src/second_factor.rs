//! Second factors of a user, as an administrator handles them.

use crate::{Accounts, AdminError};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockgate_access::{Factor, FactorUser, Ledger};
use lockgate_model::{Secret, UserName};
use lockgate_users::{DirectoryError, recovery};
use std::time::Duration;

/// How long an invitation to enrol lives (login.md: 24 h).
pub const INVITATION_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// A finished enrolment: shown once, kept nowhere in clear.
pub struct Enrolled {
    /// `otpauth://…`.
    pub uri: Secret<String>,
    /// The secret in Base32, taken out of the URI.
    pub secret: Secret<String>,
    /// A fresh set.
    pub recovery_codes: Vec<Secret<String>>,
}

/// A single-use invitation.
pub struct Invitation {
    /// The token that the link carries.
    pub token: Secret<String>,
}

impl Accounts {
    /// Enrols a user with `factor` at once and makes recovery codes. An older enrolment and its codes end.
    ///
    /// # Errors
    /// [`AdminError::Factor`] where the factor cannot; nothing was changed then.
    pub async fn enrol(&self, name: &UserName, factor: &dyn Factor) -> Result<Enrolled, AdminError> {
        let account = self.show(name).await?;
        let made = factor
            .enroll(&FactorUser {
                name: account.name.clone(),
                email: account.email.clone(),
                phone: account.phone.clone(),
                texts: account.texts.clone(),
                flagged: account.otp_auth,
                secret: None,
            })
            .await?;
        let secret = secret_in(made.uri.expose()).unwrap_or_else(|| Secret::new(String::new()));
        self.directory.enrol(name, factor.channel().as_str(), made.secret).await?;
        let recovery_codes = self.fresh_recovery_codes(name).await?;
        self.told("factor_enrolled", name);
        Ok(Enrolled { uri: made.uri, secret, recovery_codes })
    }

    /// Removes every enrolment of a user, and their recovery codes, also where they have no enrolment. Sessions end in any case.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn reset_factors(&self, name: &UserName) -> Result<usize, AdminError> {
        let account = self.show(name).await?;
        // First, and always: codes of a user who is only flagged belong to no enrolment and would outlive it.
        self.directory.replace_recovery_codes(name, Vec::new()).await?;
        for channel in account.enrolments.keys() {
            self.directory.unenrol(name, channel).await?;
        }
        self.told("factor_reset", name);
        Ok(account.enrolments.len())
    }

    /// Makes a fresh set of recovery codes; the old ones stop working.
    ///
    /// # Errors
    /// [`AdminError::Invalid`] for a user without a factor: recovery codes belong to one.
    pub async fn recovery_codes(&self, name: &UserName) -> Result<Vec<Secret<String>>, AdminError> {
        let account = self.show(name).await?;
        if account.enrolments.is_empty() && !account.otp_auth {
            return Err(AdminError::Invalid(format!(
                "{name} has no second factor: enrol one first (lockgate otp enroll {name})"
            )));
        }
        let codes = self.fresh_recovery_codes(name).await?;
        self.told("recovery_codes_made", name);
        Ok(codes)
    }

    /// Makes a single-use invitation to enrol.
    ///
    /// # Errors
    /// [`DirectoryError::NoSuchUser`], [`AdminError::Ledger`].
    pub async fn invite(&self, name: &UserName, ledger: &dyn Ledger) -> Result<Invitation, AdminError> {
        self.show(name).await?;
        let mut bytes = [0_u8; 24];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AdminError::Random)?;
        let token = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
        let digest = self.key.keyed_digest("invite", token.expose().as_bytes());
        let key = format!("invite/{}", URL_SAFE_NO_PAD.encode(digest));
        ledger.put(&key, name.as_str().as_bytes(), INVITATION_LIFE).await?;
        self.told("invited", name);
        Ok(Invitation { token })
    }

    async fn fresh_recovery_codes(&self, name: &UserName) -> Result<Vec<Secret<String>>, AdminError> {
        let codes = recovery::generate().map_err(|_| AdminError::Random)?;
        let digests: Option<Vec<Vec<u8>>> =
            codes.iter().map(|code| recovery::digest(&self.key, name, code.expose())).collect();
        let digests = digests.ok_or_else(|| DirectoryError::Invalid("a recovery code that is none was made".into()))?;
        self.directory.replace_recovery_codes(name, digests).await?;
        Ok(codes)
    }
}

/// The `secret` parameter of an `otpauth://` URI.
fn secret_in(uri: &str) -> Option<Secret<String>> {
    let (_, query) = uri.split_once('?')?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix("secret="))?;
    Some(Secret::new(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_events::EventBus;
    use lockgate_users::{AccountChange, Directory, SecretKey, SqliteDirectory};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_reset_takes_recovery_codes_away_and_ends_sessions_with_and_without_an_enrolment() {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::generate().unwrap();
        let directory = Arc::new(SqliteDirectory::open(&folder.path().join("lockgate.db"), key.clone()).await.unwrap());
        let accounts = Accounts::new(Arc::clone(&directory) as _, key, EventBus::default(), "test");
        for enrolled in [false, true] {
            let name = UserName::new(if enrolled { "bob" } else { "carol" }).unwrap();
            let change = AccountChange { otp_auth: Some(true), ..AccountChange::default() };
            directory.create(&name, change).await.unwrap();
            if enrolled {
                directory.enrol(&name, "totp", Secret::new(vec![1])).await.unwrap();
            }
            accounts.recovery_codes(&name).await.unwrap();
            let before = accounts.show(&name).await.unwrap();
            assert!(before.recovery_codes_left > 0);

            assert_eq!(accounts.reset_factors(&name).await.unwrap(), usize::from(enrolled));
            let after = accounts.show(&name).await.unwrap();
            assert_eq!((after.recovery_codes_left, after.enrolments.len()), (0, 0));
            assert_ne!(after.epoch, before.epoch, "{name}");
        }
    }

    #[test]
    fn the_secret_is_read_out_of_the_uri() {
        let uri = "otpauth://totp/Lockgate:alice?issuer=Lockgate&secret=AAAA&digits=6";
        assert_eq!(secret_in(uri).unwrap().expose(), "AAAA");
        assert!(secret_in("otpauth://totp/x").is_none());
    }
}
