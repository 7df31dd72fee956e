//! Making a home.
//!
//! prefs.xml is written last: it is what makes a folder a home, so that an interrupted start leaves something that can be begun
//! again and not something half made.

use crate::{
    cli::{Init, Ports},
    home::Home,
    output,
};
use anyhow::{Context as _, bail};
use lockgate_admin::{Accounts, NewAccount};
use lockgate_config::{FreshPorts, PrefsFile, fresh};
use lockgate_events::EventBus;
use lockgate_model::{Secret, UserName};
use lockgate_net::TlsMaterial;
use lockgate_sftp::HostKeys;
use lockgate_users::{AccountChange, Directory, SecretKey, SqliteDirectory};
use serde_json::json;
use std::{net::IpAddr, sync::Arc};

/// Letters and digits that cannot be mistaken for each other.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789A";
/// 20 characters of 5 bits: 100 bits.
const ADMIN_PASSWORD_LENGTH: usize = 20;

/// What was made.
pub(crate) struct Made {
    /// The administrator.
    pub(crate) admin: UserName,
    /// Their password, told once; `None` where the user was there already.
    pub(crate) password: Option<Secret<String>>,
}

/// Makes the home.
pub(crate) async fn run(home: &Home, wanted: &Init) -> anyhow::Result<Made> {
    let admin =
        UserName::new(&wanted.admin).map_err(|error| output::Usage(format!("--admin {:?}: {error}", wanted.admin)))?;
    if home.prefs().exists() {
        bail!("{} is a home already (it has a prefs.xml): nothing was changed", home.path().display());
    }
    home.make()?;
    let key = SecretKey::load_or_create(&home.secret_key())?;
    TlsMaterial::ensure_self_signed(&home.certificate(), &home.certificate_key(), &names(wanted.bind))?;
    HostKeys::ensure(&home.host_key())?;
    let directory: Arc<dyn Directory> = Arc::new(SqliteDirectory::open(&home.database(), key.clone()).await?);
    let accounts = Accounts::new(Arc::clone(&directory), key, EventBus::default(), "command line");
    let password = if directory.find(&admin).await?.is_some() {
        None
    } else {
        let password = random_password()?;
        let properties = AccountChange { admin: Some(true), ..AccountChange::default() };
        accounts.add(NewAccount { name: admin.clone(), password: Some(password.clone()), properties }).await?;
        Some(password)
    };
    let ports = match wanted.ports {
        Ports::Default => FreshPorts::Default,
        Ports::Ephemeral => FreshPorts::Ephemeral,
    };
    PrefsFile::create(&home.prefs(), &fresh(wanted.bind, ports))?;
    Ok(Made { admin, password })
}

/// Says what was made. The only time that the password is seen.
pub(crate) fn tell(home: &Home, made: &Made, as_json: bool) {
    if as_json {
        let password = made.password.as_ref().map(|password| password.expose().as_str());
        output::json(&json!({ "home": home.path(), "admin": made.admin.as_str(), "password": password }));
        return;
    }
    output::line(format_args!("made {}", home.path().display()));
    match &made.password {
        Some(password) => output::line(format_args!(
            "administrator: {}\npassword:      {}   (not shown again; lockgate user password {0} --password-stdin sets another)",
            made.admin,
            password.expose()
        )),
        None => output::line(format_args!("administrator: {} (was there, the password stays)", made.admin)),
    }
}

fn names(bind: IpAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !bind.is_unspecified() && !bind.is_loopback() {
        names.push(bind.to_string());
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if !host.is_empty() && !names.contains(&host) {
        names.push(host);
    }
    names
}

fn random_password() -> anyhow::Result<Secret<String>> {
    let mut bytes = [0_u8; ADMIN_PASSWORD_LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("the system gives no random numbers")?;
    let text = bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from)).collect();
    Ok(Secret::new(text))
}
