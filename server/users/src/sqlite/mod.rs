//! The directory in one SQLite file: `lockgate.db` in the home.
//!
//! The server and the commands of an administrator change the same file at once, so nothing is cached here, every change is
//! one transaction that holds the write lock from its first look, and what was answered is on disk. SQL stays in what SQLite
//! and Postgres both understand, as plain text that tests run, so that a second store is a second file like this one.
//!
//! Never: decides about a login, or hands out an enrolment that is not sealed to its user and channel.

mod file;
mod record;

pub use file::{Pools, Schema, connect};

use crate::{
    Account, AccountChange, AppPassword, AuthorizedKey, Directory, DirectoryError, Epoch, OpenError, SecretKey, change,
    random,
};
use lockgate_model::{Secret, UserName};
use record::{column, damaged, number, optional_number, signed, store, words};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, Transaction, sqlite::SqliteRow};
use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Accounts in one SQLite file. Clones share the connections.
#[derive(Clone, Debug)]
pub struct SqliteDirectory {
    pools: Pools,
    key: SecretKey,
}

impl SqliteDirectory {
    /// Opens the file, makes it (mode 0600) where it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// [`OpenError`] where the file is open to group or others, is no database, or is of a later version.
    pub async fn open(path: &Path, key: SecretKey) -> Result<Self, OpenError> {
        let pools = connect(path).await?;
        pools.prepare(&SCHEMA).await?;
        Ok(Self { pools, key })
    }

    /// The connections, for another room that keeps something in the same file.
    #[must_use]
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// The key that secrets in the file are sealed with.
    #[must_use]
    pub fn secret_key(&self) -> &SecretKey {
        &self.key
    }

    /// Writes the whole database as it is now into a new file, mode 0600, while others go on using it.
    ///
    /// # Errors
    /// [`OpenError`] where the new file exists or cannot be written; what was begun of it is removed.
    pub async fn copy_to(&self, path: &Path) -> Result<(), OpenError> {
        let text = path.to_str().ok_or_else(|| OpenError::Malformed {
            path: path.into(),
            what: "name for a copy of the database",
            why: "it is not UTF-8".into(),
        })?;
        // The engine fills an empty file and keeps its mode.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|source| OpenError::Io {
            path: path.into(),
            action: "create",
            source,
        })?;
        let copied = sqlx::query("VACUUM INTO $1").bind(text).execute(&self.pools.writer).await;
        copied.map(|_| ()).map_err(|source| {
            // Half a copy must not be taken for a whole one; that it could not be removed changes nothing about the failure.
            let _ = std::fs::remove_file(path);
            OpenError::Database { path: path.into(), source: source.into() }
        })
    }

    /// Waits for what is under way and closes the file.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, DirectoryError> {
        self.pools.begin().await.map_err(store)
    }

    /// What hangs on the accounts named by `whose` goes into them: keys, and enrolments, which are opened.
    fn attach(&self, accounts: &mut BTreeMap<String, Account>, parts: &[SqliteRow]) -> Result<(), DirectoryError> {
        for row in parts {
            let Some(account) = accounts.get_mut(&column::<String>(row, "user_name")?) else {
                continue;
            };
            let (label, bytes): (String, Vec<u8>) = (column(row, "label")?, column(row, "bytes")?);
            if column::<i64>(row, "part")? == PART_KEY {
                account.keys.push(AuthorizedKey {
                    fingerprint: label,
                    blob: bytes,
                    comment: column(row, "remark")?,
                    added: number(row, "added")?,
                });
            } else {
                let secret = self.key.open(&sealed_for(&account.name, &label), &bytes);
                account.enrolments.insert(label, secret.map_err(|_| DirectoryError::Sealed(account.name.clone()))?);
            }
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Directory for SqliteDirectory {
    async fn find(&self, name: &UserName) -> Result<Option<Account>, DirectoryError> {
        // One snapshot, and the same work whether there is such a user or not.
        let mut snapshot = self.pools.readers.begin().await.map_err(store)?;
        let user = sqlx::query(FIND).bind(name.as_str()).fetch_optional(&mut *snapshot).await.map_err(store)?;
        let parts = sqlx::query(FIND_PARTS).bind(name.as_str()).fetch_all(&mut *snapshot).await.map_err(store)?;
        snapshot.commit().await.map_err(store)?;
        let Some(user) = user else { return Ok(None) };
        let mut accounts = BTreeMap::from([(name.as_str().to_owned(), record::read(&user)?)]);
        self.attach(&mut accounts, &parts)?;
        Ok(accounts.into_values().next())
    }

    async fn list(&self, after: Option<&UserName>, limit: u32) -> Result<Vec<Account>, DirectoryError> {
        let after = after.map_or("", UserName::as_str);
        let mut snapshot = self.pools.readers.begin().await.map_err(store)?;
        let users =
            sqlx::query(LIST).bind(after).bind(i64::from(limit)).fetch_all(&mut *snapshot).await.map_err(store)?;
        let last: String = users.last().map_or(Ok(String::new()), |row| column(row, "name"))?;
        let parts = sqlx::query(LIST_PARTS).bind(after).bind(last).fetch_all(&mut *snapshot).await.map_err(store)?;
        snapshot.commit().await.map_err(store)?;
        let mut accounts = BTreeMap::new();
        for row in &users {
            accounts.insert(column::<String>(row, "name")?, record::read(row)?);
        }
        self.attach(&mut accounts, &parts)?;
        Ok(accounts.into_values().collect())
    }

    async fn create(&self, name: &UserName, change: AccountChange) -> Result<(), DirectoryError> {
        // It begins anywhere, so that a user made anew under an old name has not an epoch that old sessions remember.
        let start = random::bytes::<8>().map_err(|error| DirectoryError::Store(error.into()))?;
        let mut account = Account::empty(name.clone(), Epoch(u64::from_be_bytes(*start) >> 12));
        change::apply(&mut account, change)?;
        let mut transaction = self.begin().await?;
        let inserted =
            sqlx::query(CREATE).bind(name.as_str()).bind(now()).execute(&mut *transaction).await.map_err(store)?;
        if inserted.rows_affected() == 0 {
            return Err(DirectoryError::Exists(name.clone()));
        }
        record::write(&mut transaction, &account).await?;
        transaction.commit().await.map_err(store)
    }

    async fn update(&self, name: &UserName, change: AccountChange) -> Result<(), DirectoryError> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query(FIND).bind(name.as_str()).fetch_optional(&mut *transaction).await.map_err(store)?;
        let mut account = record::read(&row.ok_or_else(|| DirectoryError::NoSuchUser(name.clone()))?)?;
        change::apply(&mut account, change)?;
        record::write(&mut transaction, &account).await?;
        transaction.commit().await.map_err(store)
    }

    async fn remove(&self, name: &UserName) -> Result<(), DirectoryError> {
        let removed = sqlx::query("DELETE FROM users WHERE name = $1")
            .bind(name.as_str())
            .execute(&self.pools.writer)
            .await
            .map_err(store)?;
        one_user(name, removed.rows_affected())
    }

    async fn set_password(&self, name: &UserName, phc: Option<Secret<String>>) -> Result<(), DirectoryError> {
        let changed = sqlx::query("UPDATE users SET password = $2, epoch = epoch + 1 WHERE name = $1")
            .bind(name.as_str())
            .bind(phc.as_ref().map(Secret::expose))
            .execute(&self.pools.writer)
            .await
            .map_err(store)?;
        one_user(name, changed.rows_affected())
    }

    async fn rehash_password(
        &self,
        name: &UserName,
        old: &Secret<String>,
        new: Secret<String>,
    ) -> Result<(), DirectoryError> {
        // Where the password was changed meanwhile, the new one must stay: no row fits, and that is fine.
        sqlx::query("UPDATE users SET password = $3 WHERE name = $1 AND password = $2")
            .bind(name.as_str())
            .bind(old.expose())
            .bind(new.expose())
            .execute(&self.pools.writer)
            .await
            .map_err(store)?;
        Ok(())
    }

    async fn add_key(&self, name: &UserName, key: AuthorizedKey) -> Result<(), DirectoryError> {
        let mut transaction = self.begin().await?;
        require_user(&mut transaction, name).await?;
        sqlx::query(
            "INSERT INTO user_keys (user_name, fingerprint, public_key, remark, added) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (user_name, fingerprint) DO UPDATE SET public_key = excluded.public_key, remark = excluded.remark",
        )
        .bind(name.as_str())
        .bind(&key.fingerprint)
        .bind(&key.blob)
        .bind(&key.comment)
        .bind(signed(key.added))
        .execute(&mut *transaction)
        .await
        .map_err(store)?;
        at_most(&mut transaction, "SELECT COUNT(*) FROM user_keys WHERE user_name = $1", name, "keys").await?;
        transaction.commit().await.map_err(store)
    }

    async fn remove_key(&self, name: &UserName, fingerprint: &str) -> Result<(), DirectoryError> {
        let sql = "DELETE FROM user_keys WHERE user_name = $1 AND fingerprint = $2";
        self.remove_part(sql, name, fingerprint, "key").await
    }

    async fn enrol(&self, name: &UserName, channel: &str, secret: Secret<Vec<u8>>) -> Result<(), DirectoryError> {
        check_channel(channel)?;
        let sealed = self
            .key
            .seal(&sealed_for(name, channel), secret.expose())
            .map_err(|error| DirectoryError::Store(error.into()))?;
        let mut transaction = self.begin().await?;
        require_user(&mut transaction, name).await?;
        sqlx::query(
            "INSERT INTO enrolments (user_name, channel, sealed, added) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (user_name, channel) DO UPDATE SET sealed = excluded.sealed, added = excluded.added",
        )
        .bind(name.as_str())
        .bind(channel)
        .bind(sealed)
        .bind(now())
        .execute(&mut *transaction)
        .await
        .map_err(store)?;
        at_most(&mut transaction, "SELECT COUNT(*) FROM enrolments WHERE user_name = $1", name, "enrolments").await?;
        bump_epoch(&mut transaction, name).await?;
        transaction.commit().await.map_err(store)
    }

    async fn unenrol(&self, name: &UserName, channel: &str) -> Result<(), DirectoryError> {
        let mut transaction = self.begin().await?;
        require_user(&mut transaction, name).await?;
        let removed = sqlx::query("DELETE FROM enrolments WHERE user_name = $1 AND channel = $2")
            .bind(name.as_str())
            .bind(channel)
            .execute(&mut *transaction)
            .await
            .map_err(store)?;
        if removed.rows_affected() == 0 {
            return Err(no_such_thing(name, "enrolment of channel", channel));
        }
        sqlx::query(
            "DELETE FROM recovery_codes WHERE user_name = $1 \
             AND NOT EXISTS (SELECT 1 FROM enrolments WHERE enrolments.user_name = $1)",
        )
        .bind(name.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(store)?;
        bump_epoch(&mut transaction, name).await?;
        transaction.commit().await.map_err(store)
    }

    async fn replace_recovery_codes(&self, name: &UserName, digests: Vec<Vec<u8>>) -> Result<(), DirectoryError> {
        change::at_most(digests.len(), MAX_PARTS, "recovery codes")?;
        let mut transaction = self.begin().await?;
        require_user(&mut transaction, name).await?;
        sqlx::query("DELETE FROM recovery_codes WHERE user_name = $1")
            .bind(name.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(store)?;
        if digests.is_empty() {
            bump_epoch(&mut transaction, name).await?;
        }
        for digest in digests {
            sqlx::query("INSERT INTO recovery_codes (user_name, digest) VALUES ($1, $2) ON CONFLICT (user_name, digest) DO NOTHING")
                .bind(name.as_str())
                .bind(digest)
                .execute(&mut *transaction)
                .await
                .map_err(store)?;
        }
        transaction.commit().await.map_err(store)
    }

    async fn spend_recovery_code(&self, name: &UserName, digest: &[u8]) -> Result<bool, DirectoryError> {
        // One statement: of all that ask at once, on whatever node, one sees its row go.
        let spent = sqlx::query("DELETE FROM recovery_codes WHERE user_name = $1 AND digest = $2")
            .bind(name.as_str())
            .bind(digest)
            .execute(&self.pools.writer)
            .await
            .map_err(store)?;
        Ok(spent.rows_affected() == 1)
    }

    async fn app_passwords(&self, name: &UserName) -> Result<Vec<AppPassword>, DirectoryError> {
        let rows =
            sqlx::query(APP_PASSWORDS).bind(name.as_str()).fetch_all(&self.pools.readers).await.map_err(store)?;
        rows.iter().map(app_password).collect()
    }

    async fn add_app_password(&self, name: &UserName, password: AppPassword) -> Result<(), DirectoryError> {
        check_app_password(&password)?;
        let mut transaction = self.begin().await?;
        require_user(&mut transaction, name).await?;
        sqlx::query(
            "INSERT INTO app_passwords (user_name, id, label, protocols, digest, created, last_used) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(name.as_str())
        .bind(&password.id)
        .bind(&password.label)
        .bind(password.protocols.to_string())
        .bind(password.digest.expose())
        .bind(signed(password.created))
        .bind(password.last_used.map(signed))
        .execute(&mut *transaction)
        .await
        .map_err(store)?;
        at_most(&mut transaction, "SELECT COUNT(*) FROM app_passwords WHERE user_name = $1", name, "app passwords")
            .await?;
        transaction.commit().await.map_err(store)
    }

    async fn remove_app_password(&self, name: &UserName, id: &str) -> Result<(), DirectoryError> {
        self.remove_part("DELETE FROM app_passwords WHERE user_name = $1 AND id = $2", name, id, "app password").await
    }

    async fn touch_app_password(&self, name: &UserName, id: &str) -> Result<(), DirectoryError> {
        // A client that opens a connection for each file must not cost a write to disk for each: a minute is close enough.
        let recent = now() - TOUCH_EVERY_MS;
        let stale: Option<SqliteRow> = sqlx::query(
            "SELECT id FROM app_passwords WHERE user_name = $1 AND id = $2 AND COALESCE(last_used, 0) < $3",
        )
        .bind(name.as_str())
        .bind(id)
        .bind(recent)
        .fetch_optional(&self.pools.readers)
        .await
        .map_err(store)?;
        if stale.is_some() {
            sqlx::query("UPDATE app_passwords SET last_used = $3 WHERE user_name = $1 AND id = $2")
                .bind(name.as_str())
                .bind(id)
                .bind(now())
                .execute(&self.pools.writer)
                .await
                .map_err(store)?;
        }
        Ok(())
    }

    async fn knows_address(&self, name: &UserName, address: &str) -> Result<bool, DirectoryError> {
        let known = sqlx::query("SELECT seen FROM known_addresses WHERE user_name = $1 AND address = $2")
            .bind(name.as_str())
            .bind(address)
            .fetch_optional(&self.pools.readers)
            .await
            .map_err(store)?;
        Ok(known.is_some())
    }

    async fn remember_address(&self, name: &UserName, address: &str) -> Result<(), DirectoryError> {
        let fresh = sqlx::query("SELECT seen FROM known_addresses WHERE user_name = $1 AND address = $2 AND seen > $3")
            .bind(name.as_str())
            .bind(address)
            .bind(now() - REMEMBER_EVERY_MS)
            .fetch_optional(&self.pools.readers)
            .await
            .map_err(store)?;
        if fresh.is_some() {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        require_user(&mut transaction, name).await?;
        sqlx::query(
            "INSERT INTO known_addresses (user_name, address, seen) VALUES ($1, $2, $3) \
             ON CONFLICT (user_name, address) DO UPDATE SET seen = excluded.seen",
        )
        .bind(name.as_str())
        .bind(address)
        .bind(now())
        .execute(&mut *transaction)
        .await
        .map_err(store)?;
        sqlx::query(
            "DELETE FROM known_addresses WHERE user_name = $1 AND address NOT IN \
             (SELECT address FROM known_addresses WHERE user_name = $1 ORDER BY seen DESC, address LIMIT $2)",
        )
        .bind(name.as_str())
        .bind(KNOWN_ADDRESSES)
        .execute(&mut *transaction)
        .await
        .map_err(store)?;
        transaction.commit().await.map_err(store)
    }

    async fn epochs(&self, names: &[UserName]) -> Result<BTreeMap<UserName, Epoch>, DirectoryError> {
        let mut epochs = BTreeMap::new();
        // Far below what either engine takes in one statement.
        for some in names.chunks(1000) {
            let mut query = QueryBuilder::<Sqlite>::new("SELECT name, epoch FROM users WHERE name IN (");
            let mut list = query.separated(", ");
            for name in some {
                list.push_bind(name.as_str());
            }
            query.push(")");
            for row in query.build().fetch_all(&self.pools.readers).await.map_err(store)? {
                let name = UserName::new(&column::<String>(&row, "name")?).map_err(|_| damaged("name"))?;
                epochs.insert(name, Epoch(number(&row, "epoch")?));
            }
        }
        Ok(epochs)
    }

    async fn second_factor_users(&self) -> Result<u64, DirectoryError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS users FROM users WHERE otp_auth OR otp_auth_on <> '' \
             OR EXISTS (SELECT 1 FROM enrolments WHERE enrolments.user_name = users.name)",
        )
        .fetch_one(&self.pools.readers)
        .await
        .map_err(store)?;
        number(&row, "users")
    }
}

impl SqliteDirectory {
    /// Removes one thing of a user and ends what was granted with it.
    async fn remove_part(
        &self,
        sql: &'static str,
        name: &UserName,
        part: &str,
        what: &str,
    ) -> Result<(), DirectoryError> {
        let mut transaction = self.begin().await?;
        require_user(&mut transaction, name).await?;
        let removed =
            sqlx::query(sql).bind(name.as_str()).bind(part).execute(&mut *transaction).await.map_err(store)?;
        if removed.rows_affected() == 0 {
            return Err(no_such_thing(name, what, part));
        }
        bump_epoch(&mut transaction, name).await?;
        transaction.commit().await.map_err(store)
    }
}

async fn require_user(connection: &mut SqliteConnection, name: &UserName) -> Result<(), DirectoryError> {
    let found = sqlx::query("SELECT 1 FROM users WHERE name = $1")
        .bind(name.as_str())
        .fetch_optional(connection)
        .await
        .map_err(store)?;
    one_user(name, found.iter().len() as u64)
}

async fn bump_epoch(connection: &mut SqliteConnection, name: &UserName) -> Result<(), DirectoryError> {
    sqlx::query("UPDATE users SET epoch = epoch + 1 WHERE name = $1")
        .bind(name.as_str())
        .execute(connection)
        .await
        .map_err(store)?;
    Ok(())
}

/// Refuses, inside the transaction, what would make the list longer than anybody needs.
async fn at_most(
    connection: &mut SqliteConnection,
    count: &'static str,
    name: &UserName,
    what: &str,
) -> Result<(), DirectoryError> {
    let row = sqlx::query(count).bind(name.as_str()).fetch_one(connection).await.map_err(store)?;
    let count: i64 = row.try_get(0).map_err(store)?;
    change::at_most(usize::try_from(count).unwrap_or(usize::MAX), MAX_PARTS, what)
}

fn one_user(name: &UserName, rows: u64) -> Result<(), DirectoryError> {
    if rows == 0 { Err(DirectoryError::NoSuchUser(name.clone())) } else { Ok(()) }
}

fn no_such_thing(name: &UserName, what: &str, which: &str) -> DirectoryError {
    DirectoryError::NoSuchThing { user: name.clone(), what: format!("{what} {which}") }
}

/// What an enrolment is bound to. Neither part can hold a slash.
fn sealed_for(name: &UserName, channel: &str) -> String {
    format!("enrolment/{name}/{channel}")
}

fn check_channel(channel: &str) -> Result<(), DirectoryError> {
    let fits = (1..=64).contains(&channel.len())
        && channel.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if fits {
        Ok(())
    } else {
        Err(DirectoryError::Invalid(
            "the name of a channel has 1 to 64 letters, digits, underscores, dashes or dots".into(),
        ))
    }
}

fn check_app_password(password: &AppPassword) -> Result<(), DirectoryError> {
    let refuse = |why: &str| Err(DirectoryError::Invalid(why.into()));
    if password.label.len() > 128 || password.label.chars().any(char::is_control) {
        return refuse("the label of an app password has at most 128 bytes and no control characters");
    }
    if password.protocols.is_empty() {
        return refuse("an app password must name at least one protocol");
    }
    Ok(())
}

fn app_password(row: &SqliteRow) -> Result<AppPassword, DirectoryError> {
    Ok(AppPassword {
        id: column(row, "id")?,
        label: column(row, "label")?,
        protocols: words(row, "protocols")?,
        digest: Secret::new(column(row, "digest")?),
        created: number(row, "created")?,
        last_used: optional_number(row, "last_used")?,
    })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

const SCHEMA: Schema = Schema {
    room: "users",
    steps: &[include_str!("schema/0001_accounts.sql"), include_str!("schema/0002_certificates.sql")],
};

const FIND: &str = "SELECT users.*, (SELECT COUNT(*) FROM recovery_codes WHERE user_name = users.name) AS recovery_codes_left \
                    FROM users WHERE name = $1";
const FIND_PARTS: &str = "SELECT 0 AS part, user_name, fingerprint AS label, public_key AS bytes, remark, added \
                          FROM user_keys WHERE user_name = $1 \
                          UNION ALL SELECT 1, user_name, channel, sealed, '', added FROM enrolments WHERE user_name = $1 \
                          ORDER BY part, added, label";
const LIST: &str = "SELECT users.*, (SELECT COUNT(*) FROM recovery_codes WHERE user_name = users.name) AS recovery_codes_left \
                    FROM users WHERE name > $1 ORDER BY name LIMIT $2";
const LIST_PARTS: &str = "SELECT 0 AS part, user_name, fingerprint AS label, public_key AS bytes, remark, added \
                          FROM user_keys WHERE user_name > $1 AND user_name <= $2 \
                          UNION ALL SELECT 1, user_name, channel, sealed, '', added FROM enrolments \
                          WHERE user_name > $1 AND user_name <= $2 \
                          ORDER BY part, added, label";
const CREATE: &str = "INSERT INTO users (name, epoch, created, enabled, admin, otp_auth, otp_auth_on, otp_auth_off, mounts, rules, \
                      read_only, allowed_protocols, ip_restrictions, texts) \
                      VALUES ($1, 0, $2, FALSE, FALSE, FALSE, '', '', '[]', '[]', FALSE, '', '', '{}') ON CONFLICT (name) DO NOTHING";
const APP_PASSWORDS: &str = "SELECT id, label, protocols, digest, created, last_used FROM app_passwords WHERE user_name = $1 ORDER BY created, id";

const PART_KEY: i64 = 0;
/// Keys, enrolments, app passwords: of each at most so many.
const MAX_PARTS: usize = 100;
const TOUCH_EVERY_MS: i64 = 60_000;
const REMEMBER_EVERY_MS: i64 = 3_600_000;
/// How many addresses of a user are remembered.
const KNOWN_ADDRESSES: i64 = 32;

#[cfg(test)]
mod tests;
