//! A directory in memory, which can be broken.

use lockgate_model::{Secret, UserName};
use lockgate_users::{Account, AccountChange, AppPassword, AuthorizedKey, Directory, DirectoryError, Epoch};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Accounts of a test.
#[derive(Default)]
pub(crate) struct Accounts {
    kept: Mutex<Kept>,
    pub(crate) broken: AtomicBool,
    /// Whether addresses are remembered without an end.
    pub(crate) forgetful: AtomicBool,
}

#[derive(Default)]
struct Kept {
    accounts: BTreeMap<UserName, Account>,
    app_passwords: BTreeMap<UserName, Vec<AppPassword>>,
    recovery: BTreeMap<UserName, BTreeSet<Vec<u8>>>,
    addresses: BTreeSet<(UserName, String)>,
}

impl Accounts {
    pub(crate) fn put(&self, account: Account) {
        self.kept.lock().unwrap().accounts.insert(account.name.clone(), account);
    }

    /// Changes an account as an administrator would: its epoch moves on.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Account)) {
        let mut kept = self.kept.lock().unwrap();
        let account = kept.accounts.get_mut(&UserName::new(name).unwrap()).unwrap();
        change(account);
        account.epoch = Epoch(account.epoch.0 + 1);
    }

    fn kept(&self) -> Result<std::sync::MutexGuard<'_, Kept>, DirectoryError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(DirectoryError::Store("broken by the test".into()));
        }
        Ok(self.kept.lock().unwrap())
    }
}

#[async_trait::async_trait]
impl Directory for Accounts {
    async fn find(&self, name: &UserName) -> Result<Option<Account>, DirectoryError> {
        let kept = self.kept()?;
        let codes = kept.recovery.get(name).map_or(0, BTreeSet::len);
        Ok(kept
            .accounts
            .get(name)
            .cloned()
            .map(|account| Account { recovery_codes_left: u32::try_from(codes).unwrap(), ..account }))
    }
    async fn list(&self, _: Option<&UserName>, _: u32) -> Result<Vec<Account>, DirectoryError> {
        Ok(self.kept()?.accounts.values().cloned().collect())
    }
    async fn create(&self, _: &UserName, _: AccountChange) -> Result<(), DirectoryError> {
        unreachable!("the gate makes no accounts")
    }
    async fn update(&self, _: &UserName, _: AccountChange) -> Result<(), DirectoryError> {
        unreachable!("the gate changes no accounts")
    }
    async fn remove(&self, name: &UserName) -> Result<(), DirectoryError> {
        self.kept()?.accounts.remove(name);
        Ok(())
    }
    async fn set_password(&self, _: &UserName, _: Option<Secret<String>>) -> Result<(), DirectoryError> {
        unreachable!("the gate sets no passwords")
    }
    async fn rehash_password(
        &self,
        name: &UserName,
        _: &Secret<String>,
        new: Secret<String>,
    ) -> Result<(), DirectoryError> {
        self.kept()?.accounts.get_mut(name).unwrap().password = Some(new);
        Ok(())
    }
    async fn add_key(&self, _: &UserName, _: AuthorizedKey) -> Result<(), DirectoryError> {
        unreachable!("the gate adds no keys")
    }
    async fn remove_key(&self, _: &UserName, _: &str) -> Result<(), DirectoryError> {
        unreachable!("the gate removes no keys")
    }
    async fn enrol(&self, _: &UserName, _: &str, _: Secret<Vec<u8>>) -> Result<(), DirectoryError> {
        unreachable!("the gate enrols nobody")
    }
    async fn unenrol(&self, _: &UserName, _: &str) -> Result<(), DirectoryError> {
        unreachable!("the gate ends no enrolment")
    }
    async fn replace_recovery_codes(&self, name: &UserName, digests: Vec<Vec<u8>>) -> Result<(), DirectoryError> {
        self.kept()?.recovery.insert(name.clone(), digests.into_iter().collect());
        Ok(())
    }
    async fn spend_recovery_code(&self, name: &UserName, digest: &[u8]) -> Result<bool, DirectoryError> {
        Ok(self.kept()?.recovery.get_mut(name).is_some_and(|codes| codes.remove(digest)))
    }
    async fn app_passwords(&self, name: &UserName) -> Result<Vec<AppPassword>, DirectoryError> {
        Ok(self.kept()?.app_passwords.get(name).cloned().unwrap_or_default())
    }
    async fn add_app_password(&self, name: &UserName, password: AppPassword) -> Result<(), DirectoryError> {
        self.kept()?.app_passwords.entry(name.clone()).or_default().push(password);
        Ok(())
    }
    async fn remove_app_password(&self, _: &UserName, _: &str) -> Result<(), DirectoryError> {
        unreachable!("the gate removes no app passwords")
    }
    async fn touch_app_password(&self, _: &UserName, _: &str) -> Result<(), DirectoryError> {
        Ok(())
    }
    async fn knows_address(&self, name: &UserName, address: &str) -> Result<bool, DirectoryError> {
        Ok(self.kept()?.addresses.contains(&(name.clone(), address.to_owned())))
    }
    async fn remember_address(&self, name: &UserName, address: &str) -> Result<(), DirectoryError> {
        if self.forgetful.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.kept()?.addresses.insert((name.clone(), address.to_owned()));
        Ok(())
    }
    async fn epochs(&self, names: &[UserName]) -> Result<BTreeMap<UserName, Epoch>, DirectoryError> {
        let kept = self.kept()?;
        Ok(names.iter().filter_map(|name| Some((name.clone(), kept.accounts.get(name)?.epoch))).collect())
    }
    async fn second_factor_users(&self) -> Result<u64, DirectoryError> {
        let count = self.kept()?.accounts.values().filter(|a| a.otp_auth || !a.enrolments.is_empty()).count();
        Ok(u64::try_from(count).unwrap())
    }
}
