//! Opening what a home keeps: the key, the users, the ledger, where prefs.xml says they are. The same for the server and for
//! commands beside it, so that neither can write into a file that the other does not look at.

use crate::{home::Home, preferences, wiring};
use anyhow::Context as _;
use lockgate_access::ledger::{Clock, SqliteLedger};
use lockgate_admin::Accounts;
use lockgate_config::Prefs;
use lockgate_events::{AuditFile, EventBus, Sink};
use lockgate_users::{Directory, SecretKey, SqliteDirectory};
use std::sync::Arc;

/// What is open of a home.
pub(crate) struct Stores {
    pub(crate) home: Home,
    pub(crate) key: SecretKey,
    pub(crate) directory: Arc<dyn Directory>,
    database: SqliteDirectory,
    pub(crate) ledger: Arc<SqliteLedger>,
    pub(crate) events: EventBus,
    pub(crate) audit: Arc<AuditFile>,
}

impl Stores {
    /// Opens a home that is there, as its prefs.xml says.
    pub(crate) async fn open(home: &Home) -> anyhow::Result<Self> {
        let prefs = preferences::load(home)?.prefs;
        Self::of(home, &prefs).await
    }

    /// Opens a home that is there.
    pub(crate) async fn of(home: &Home, prefs: &Prefs) -> anyhow::Result<Self> {
        home.require()?;
        home.refuse_loose_keys()?;
        let key = SecretKey::load(&home.secret_key())?;
        // Addresses of databases may stand in files, as secrets do: not for the runtime's own thread.
        let places = {
            let (home, prefs, key) = (home.clone(), prefs.clone(), key.clone());
            tokio::task::spawn_blocking(move || wiring::databases(&prefs, &home, &key)).await??
        };
        let directory = SqliteDirectory::open(&places.users, key.clone()).await?;
        let ledger = match &places.ledger {
            Some(own) => SqliteLedger::open(own).await?,
            // One pool for both: accounts and ledger queue fairly for the one writer that SQLite has.
            None => SqliteLedger::within(directory.pools().clone(), Clock::system()).await?,
        };
        let path = home.path().join(&prefs.audit.file);
        let audit = Arc::new(AuditFile::open(&path).with_context(|| format!("cannot write {}", path.display()))?);
        audit.record_files(prefs.audit.transfers);
        let events = EventBus::new([Arc::clone(&audit) as Arc<dyn Sink>]);
        Ok(Self {
            home: home.clone(),
            key,
            directory: Arc::new(directory.clone()),
            database: directory,
            ledger: Arc::new(ledger),
            events,
            audit,
        })
    }

    /// Waits for what is under way and brings everything into the one file, so that a copy of it is whole.
    pub(crate) async fn close(&self) {
        self.ledger.close().await;
        self.database.close().await;
    }

    /// Operations on accounts in the name of the command line.
    pub(crate) fn accounts(&self) -> Accounts {
        Accounts::new(Arc::clone(&self.directory), self.key.clone(), self.events.clone(), "command line")
    }
}
