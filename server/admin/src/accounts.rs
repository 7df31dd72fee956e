//! The life of an account.

use crate::AdminError;
use lockgate_events::{Event, EventBus};
use lockgate_model::{ProtocolSet, Secret, UserName};
use lockgate_users::{
    Account, AccountChange, AppPassword, AuthorizedKey, Directory, DirectoryError, SecretKey, UnixMillis, app_password,
    keys, password,
};
use std::{sync::Arc, time::SystemTime};

/// Operations on accounts, in the name of one actor.
#[derive(Clone)]
pub struct Accounts {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) key: SecretKey,
    events: EventBus,
    actor: String,
}

/// What a new account begins with.
pub struct NewAccount {
    /// Its name.
    pub name: UserName,
    /// Its password; `None`: none can be given, only keys open it.
    pub password: Option<Secret<String>>,
    /// Everything else.
    pub properties: AccountChange,
}

impl Accounts {
    /// Operations of `actor` (a user's name, or `command line`) on this directory.
    pub fn new(directory: Arc<dyn Directory>, key: SecretKey, events: EventBus, actor: impl Into<String>) -> Self {
        Self { directory, key, events, actor: actor.into() }
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`DirectoryError::Exists`] and others; nothing was made then.
    pub async fn add(&self, account: NewAccount) -> Result<(), AdminError> {
        let hash = account.password.as_ref().map(hash).transpose()?;
        self.directory.create(&account.name, account.properties).await?;
        if let Some(hash) = hash
            && let Err(error) = self.directory.set_password(&account.name, Some(hash)).await
        {
            // A user without the password that was given would be half made.
            let _ = self.directory.remove(&account.name).await;
            return Err(error.into());
        }
        self.told("user_added", &account.name);
        Ok(())
    }

    /// Changes properties.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn set(&self, name: &UserName, change: AccountChange) -> Result<(), AdminError> {
        self.directory.update(name, change).await?;
        self.told("user_changed", name);
        Ok(())
    }

    /// Removes an account; its files stay.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn remove(&self, name: &UserName) -> Result<(), AdminError> {
        self.directory.remove(name).await?;
        self.told("user_removed", name);
        Ok(())
    }

    /// Sets a password. Sessions made with the old one end.
    ///
    /// # Errors
    /// [`AdminError::Invalid`] for a password that cannot be; [`DirectoryError`].
    pub async fn set_password(&self, name: &UserName, password: &Secret<String>) -> Result<(), AdminError> {
        self.directory.set_password(name, Some(hash(password)?)).await?;
        self.told("password_set", name);
        Ok(())
    }

    /// One account.
    ///
    /// # Errors
    /// [`DirectoryError::NoSuchUser`] and others.
    pub async fn show(&self, name: &UserName) -> Result<Account, AdminError> {
        Ok(self.directory.find(name).await?.ok_or_else(|| DirectoryError::NoSuchUser(name.clone()))?)
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn list(&self) -> Result<Vec<Account>, AdminError> {
        const PAGE: u32 = 500;
        let mut all: Vec<Account> = Vec::new();
        loop {
            let page = self.directory.list(all.last().map(|account| &account.name), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Adds the public keys of an `authorized_keys` text. Returns what was added.
    ///
    /// # Errors
    /// [`AdminError::Invalid`] names the line; nothing was added then.
    pub async fn add_keys(&self, name: &UserName, text: &str) -> Result<Vec<AuthorizedKey>, AdminError> {
        let added = keys::parse_file(text, now())
            .map_err(|(line, error)| AdminError::Invalid(format!("line {line}: {error}")))?;
        if added.is_empty() {
            return Err(AdminError::Invalid("there is no public key in it; give one line as in id_ed25519.pub".into()));
        }
        for key in &added {
            self.directory.add_key(name, key.clone()).await?;
        }
        self.told("key_added", name);
        Ok(added)
    }

    /// Removes a public key.
    ///
    /// # Errors
    /// [`DirectoryError::NoSuchThing`].
    pub async fn remove_key(&self, name: &UserName, fingerprint: &str) -> Result<(), AdminError> {
        self.directory.remove_key(name, fingerprint).await?;
        self.told("key_removed", name);
        Ok(())
    }

    /// Makes an app password for these protocols. The password itself is returned here and never again.
    ///
    /// # Errors
    /// [`AdminError::Invalid`] for an empty list; [`DirectoryError`].
    pub async fn add_app_password(
        &self,
        name: &UserName,
        label: &str,
        protocols: ProtocolSet,
    ) -> Result<(Secret<String>, AppPassword), AdminError> {
        if protocols.is_empty() {
            return Err(AdminError::Invalid(
                "an app password needs at least one protocol: --protocols sftp,webdav".into(),
            ));
        }
        let (secret, record) =
            app_password::mint(&self.key, name, label, protocols, now()).map_err(|_| AdminError::Random)?;
        self.directory.add_app_password(name, record.clone()).await?;
        self.told("app_password_added", name);
        Ok((secret, record))
    }

    /// The app passwords of a user.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn app_passwords(&self, name: &UserName) -> Result<Vec<AppPassword>, AdminError> {
        Ok(self.directory.app_passwords(name).await?)
    }

    /// Removes an app password.
    ///
    /// # Errors
    /// [`DirectoryError::NoSuchThing`].
    pub async fn remove_app_password(&self, name: &UserName, id: &str) -> Result<(), AdminError> {
        self.directory.remove_app_password(name, id).await?;
        self.told("app_password_removed", name);
        Ok(())
    }

    pub(crate) fn told(&self, action: &'static str, subject: &UserName) {
        self.events.announce(&Event::Administration {
            actor: self.actor.clone(),
            action,
            subject: subject.to_string(),
        });
    }
}

fn hash(secret: &Secret<String>) -> Result<Secret<String>, AdminError> {
    if secret.expose().is_empty() {
        return Err(AdminError::Invalid("a password cannot be empty".into()));
    }
    password::hash(secret).map_err(|error| AdminError::Invalid(error.to_string()))
}

/// Unix milliseconds now.
pub(crate) fn now() -> UnixMillis {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
