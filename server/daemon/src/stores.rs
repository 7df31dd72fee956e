//! Opening what a home keeps: the key, the users, the ledger. The same for the server and for commands beside it.

use crate::home::Home;
use anyhow::Context as _;
use lockgate_access::ledger::{Clock, SqliteLedger};
use lockgate_admin::Accounts;
use lockgate_events::{AuditFile, EventBus, Sink};
use lockgate_users::{Directory, SecretKey, SqliteDirectory};
use std::sync::Arc;

/// What is open of a home.
pub(crate) struct Stores {
    pub(crate) home: Home,
    pub(crate) key: SecretKey,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) ledger: Arc<SqliteLedger>,
    pub(crate) events: EventBus,
    pub(crate) audit: Arc<AuditFile>,
}

impl Stores {
    /// Opens a home that is there.
    pub(crate) async fn open(home: &Home) -> anyhow::Result<Self> {
        home.require()?;
        home.refuse_loose_keys()?;
        let key = SecretKey::load(&home.secret_key())?;
        let directory = SqliteDirectory::open(&home.database(), key.clone()).await?;
        // One pool for both: accounts and ledger queue fairly for the one writer that SQLite has.
        let ledger = SqliteLedger::within(directory.pools().clone(), Clock::system()).await?;
        let path = home.audit();
        let audit = Arc::new(AuditFile::open(&path).with_context(|| format!("cannot write {}", path.display()))?);
        let events = EventBus::new([Arc::clone(&audit) as Arc<dyn Sink>]);
        Ok(Self { home: home.clone(), key, directory: Arc::new(directory), ledger: Arc::new(ledger), events, audit })
    }

    /// Operations on accounts in the name of the command line.
    pub(crate) fn accounts(&self) -> Accounts {
        Accounts::new(Arc::clone(&self.directory), self.key.clone(), self.events.clone(), "command line")
    }
}
