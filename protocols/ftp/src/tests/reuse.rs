//! Data connections and the TLS session of their control connection, where no operator decided.

use super::house::{Client, House, under_tls};
use crate::SessionReuse;
use rustls::{
    ClientConfig, NamedGroup,
    client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn with(house: &House, resumption: Resumption) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&house.client);
    config.resumption = resumption;
    Arc::new(config)
}

async fn logged_in(house: &House, config: &Arc<ClientConfig>) -> Client {
    let mut client = house.secure_with(config).await;
    client.log_in().await;
    client.expect(&[("PBSZ 0", 200), ("PROT P", 200)]).await;
    client
}

/// Whether an upload over a data connection with this configuration is taken.
async fn uploads(client: &mut Client, config: &Arc<ClientConfig>) -> bool {
    let data = client.passive().await;
    client.expect(&[("STOR a", 150)]).await;
    if let Ok(mut data) = under_tls(data, config).await {
        let _ = data.write_all(b"x").await;
        let _ = data.shutdown().await;
    }
    let reply = client.reply().await;
    assert!(reply.starts_with("226") || reply.starts_with("522"), "{reply}");
    reply.starts_with("226")
}

/// Whether a listing over a data connection with this configuration comes.
async fn lists(client: &mut Client, config: &Arc<ClientConfig>) -> bool {
    let data = client.passive().await;
    client.expect(&[("NLST", 150)]).await;
    if let Ok(mut data) = under_tls(data, config).await {
        let _ = data.read_to_end(&mut Vec::new()).await;
    }
    client.reply().await.starts_with("226")
}

#[tokio::test]
async fn clients_that_never_resume_or_use_each_ticket_once_are_served() {
    let house = House::new().await;
    // TLS 1.3 in this library, as in Go: a ticket is used once, and an upload brings none.
    let once = with(&house, Resumption::in_memory_sessions(8));
    for config in [with(&house, Resumption::disabled()), once] {
        let mut client = logged_in(&house, &config).await;
        for _ in 0..4 {
            assert!(uploads(&mut client, &config).await && lists(&mut client, &config).await);
            assert!(uploads(&mut client, &config).await && uploads(&mut client, &config).await);
        }
    }
}

/// Keeps the first ticket that comes and shows it each time, as clients do that copy the session of their control connection.
/// This library does that with TLS 1.2 alone.
#[derive(Debug, Default)]
struct Keeper(Mutex<Option<Tls12ClientSessionValue>>);

impl ClientSessionStore for Keeper {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.lock().unwrap().get_or_insert(session);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.lock().unwrap().clone()
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

fn keeper(house: &House) -> Arc<ClientConfig> {
    let mut config = house.twelve();
    config.resumption = Resumption::store(Arc::new(Keeper::default()));
    Arc::new(config)
}

#[tokio::test]
async fn a_client_that_keeps_using_one_ticket_is_held_to_it() {
    let house = House::new().await;
    let (mine, other) = (keeper(&house), keeper(&house));
    let mut client = logged_in(&house, &mine).await;
    let stranger = with(&house, Resumption::disabled());
    assert!(uploads(&mut client, &stranger).await, "nothing is known of it yet");
    for _ in 0..3 {
        assert!(uploads(&mut client, &mine).await);
    }
    assert!(!uploads(&mut client, &stranger).await && !lists(&mut client, &stranger).await);
    // A control connection by itself proves nothing; a login on it does.
    let mut second = house.secure_with(&other).await;
    second.expect(&[("NOOP", 200)]).await;
    assert!(!lists(&mut client, &other).await);
    second.log_in().await;
    assert!(lists(&mut client, &other).await, "the same user's, from the same address");
    second.expect(&[("QUIT", 221)]).await;
    second.must_be_closed().await;
    assert!(!lists(&mut client, &other).await);
    assert!(uploads(&mut client, &mine).await && lists(&mut client, &mine).await);
}

#[tokio::test]
async fn where_it_is_switched_off_nobody_is_held_to_anything() {
    let house = House::set(|settings| settings.session_reuse = SessionReuse::Never).await;
    let mine = keeper(&house);
    let mut client = logged_in(&house, &mine).await;
    for _ in 0..5 {
        assert!(uploads(&mut client, &mine).await);
    }
    assert!(uploads(&mut client, &with(&house, Resumption::disabled())).await);
}

#[tokio::test]
async fn where_it_is_demanded_clients_of_both_versions_of_tls_can_show_it() {
    let house = House::set(|settings| settings.session_reuse = SessionReuse::Always).await;
    let mut twelve = house.twelve();
    twelve.resumption = Resumption::in_memory_sessions(8);
    let mut by_id = house.twelve();
    by_id.resumption =
        Resumption::in_memory_sessions(8).tls12_resumption(rustls::client::Tls12Resumption::SessionIdOnly);
    for mine in [with(&house, Resumption::in_memory_sessions(8)), Arc::new(twelve), Arc::new(by_id)] {
        let mut client = logged_in(&house, &mine).await;
        assert!(lists(&mut client, &mine).await && uploads(&mut client, &mine).await);
        let mut other = house.twelve();
        other.resumption = Resumption::in_memory_sessions(8);
        let other = Arc::new(other);
        let _second = logged_in(&house, &other).await;
        assert!(!lists(&mut client, &other).await, "of another control connection, the same user's though it is");
    }
}
