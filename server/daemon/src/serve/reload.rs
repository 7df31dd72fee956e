//! Following prefs.xml while the server runs: taken over as a whole, or not at all, and one reading after the other.

use super::{Server, State};
use crate::{factors, preferences, wiring};
use lockgate_config::{Fingerprint, Prefs};
use lockgate_events::Event;
use std::{sync::Arc, time::Duration};

/// How often the file is looked at: a change is in force within 2 s.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks at the file until dropped.
pub(super) async fn watch(server: Arc<Server>) {
    let look = || Fingerprint::of(&server.home.prefs());
    let mut known = server.built_from;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let seen = look();
        if seen != known {
            known = seen;
            now(&server).await;
        }
    }
}

/// Reads the file and takes it over. What goes wrong leaves everything as it was, and is said in `status` and the log.
///
/// Waits while another reading is under way, and reads then: what the other one has read may be older.
pub(super) async fn now(server: &Arc<Server>) {
    let _turn = server.taking_over.lock().await;
    let (accepted, what) = match take_over(server).await {
        Ok(()) => (true, "prefs.xml is in force".to_owned()),
        Err(error) => (false, format!("{error:#}")),
    };
    if accepted {
        tracing::info!("{what}");
    } else {
        tracing::error!("prefs.xml is refused, the preferences before it stay in force: {what}");
    }
    server.state().prefs_error = (!accepted).then(|| what.clone());
    server.stores.events.announce(&Event::Prefs { accepted, what });
}

async fn take_over(server: &Arc<Server>) -> anyhow::Result<()> {
    let (home, key) = (server.home.clone(), server.stores.key.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let reading = preferences::load(&home)?;
        // In force at the next start; what that would refuse is refused now.
        wiring::databases(&reading.prefs, &home, &key)?;
        anyhow::Ok(reading)
    })
    .await??;
    let prefs = reading.prefs;
    let (old, old_plugins) = {
        let state = server.state();
        (state.prefs.clone(), Arc::clone(&state.plugins))
    };
    let plugins = if same_plugins(&old, &prefs) {
        old_plugins
    } else {
        Arc::new(factors::start(&server.home, &prefs, &server.stores.key).await?)
    };
    // The doors last of what can fail: a port in use refuses the file before anything else has changed.
    {
        let (server, prefs) = (Arc::clone(server), prefs.clone());
        tokio::task::spawn_blocking(move || server.doors.open(&prefs)).await??;
    }
    server.gate.reconfigure(wiring::access(&prefs), plugins.factors());
    server.house.reconfigure(wiring::net(&prefs));
    server.addresses.exempt(prefs.bans.exempt.clone());
    server.stores.audit.record_files(prefs.audit.transfers);
    server.storage.reconfigure(wiring::storage(&prefs));
    server.storage.limit_locks(wiring::locks(&prefs));
    {
        let mut state = server.state();
        let State { prefs: in_force, plugins: running, .. } = &mut *state;
        *in_force = prefs;
        *running = plugins;
    }
    server.note_warnings(reading.warnings.iter().map(ToString::to_string).collect()).await;
    Ok(())
}

/// Whether every key that plugins are given is as it was: then their workers go on.
fn same_plugins(old: &Prefs, new: &Prefs) -> bool {
    old.plugins == new.plugins
        && old.plugin_limits == new.plugin_limits
        && old.mail == new.mail
        && old.templates == new.templates
        && old.code_request == new.code_request
        && old.second_factor.totp_steps_ahead == new.second_factor.totp_steps_ahead
        && old.second_factor.channel_timeout == new.second_factor.channel_timeout
}

/// Reads certificates anew.
pub(super) fn certificates(server: &Server) {
    server.doors.reload_certificates();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{Init, Ports},
        home::Home,
        init,
    };
    use std::{fs, net::Ipv4Addr};
    use tokio::time::timeout;

    /// One listener on a free port, with these keys of its own.
    fn write(home: &Home, listener: &str, grace_ms: u32) {
        write_kind(home, "SFTP", listener, grace_ms);
    }

    fn write_kind(home: &Home, kind: &str, listener: &str, grace_ms: u32) {
        let text = format!(
            "<server_prefs><otp_validated_logins>false</otp_validated_logins><login_grace>{grace_ms}</login_grace>\
             <server_list type=\"vector\"><server_list_subitem type=\"properties\"><serverType>{kind}</serverType>\
             <ip>127.0.0.1</ip><port>0</port>{listener}</server_list_subitem></server_list></server_prefs>"
        );
        fs::write(home.prefs(), text).unwrap();
    }

    /// A server of its own, with what its home lies in.
    async fn server() -> (tempfile::TempDir, Arc<Server>) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(folder.path().join("home"))).unwrap();
        let wanted = Init { bind: Ipv4Addr::LOCALHOST.into(), ports: Ports::Ephemeral, admin: "admin".to_owned() };
        init::run(&home, &wanted).await.unwrap();
        write(&home, "", 60_000);
        let server = super::super::build(&home).await.unwrap();
        (folder, server)
    }

    fn grace(server: &Server) -> Duration {
        server.state().prefs.login.grace
    }

    #[tokio::test]
    async fn a_reading_waits_for_the_one_before_it_and_takes_the_file_as_it_is_then() {
        let (_folder, server) = server().await;
        write(&server.home, "", 30_000);
        let turn = server.taking_over.lock().await;
        let mut second = tokio::spawn({
            let server = Arc::clone(&server);
            async move { now(&server).await }
        });
        assert!(timeout(Duration::from_millis(200), &mut second).await.is_err(), "not while another is under way");

        write(&server.home, "", 20_000);
        drop(turn);
        second.await.unwrap();

        assert_eq!(grace(&server), Duration::from_secs(20));
    }

    #[tokio::test]
    async fn what_was_written_while_the_server_was_built_is_taken_over_by_the_first_look() {
        let (_folder, server) = server().await;
        write(&server.home, "", 25_000);

        let watching = tokio::spawn(watch(Arc::clone(&server)));

        let taken = async {
            while grace(&server) != Duration::from_secs(25) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(5), taken).await.unwrap();
        watching.abort();
    }

    #[tokio::test]
    async fn a_reload_that_was_refused_stays_in_status_until_one_is_not_or_the_files_are_no_longer_named() {
        let (_folder, server) = server().await;
        let key = server.home.path().join("keys/tls.key");
        let mode = |mode| fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let warned = || {
            let status = server.status();
            status["warnings"].as_array().unwrap().iter().any(|warning| warning.as_str().unwrap().contains("tls.key"))
        };
        write_kind(&server.home, "HTTPS", "", 60_000);
        now(&server).await;
        assert_eq!(server.state().prefs_error, None);
        assert!(!warned());

        mode(0o644);
        certificates(&server);
        assert!(warned());
        mode(0o600);
        certificates(&server);
        assert!(!warned());

        mode(0o644);
        certificates(&server);
        assert!(warned());
        write(&server.home, "", 60_000);
        now(&server).await;
        assert!(!warned());
    }

    #[tokio::test]
    async fn a_listener_keeps_its_socket_when_its_proxies_or_its_limit_change() {
        let (_folder, server) = server().await;
        let ports = || -> Vec<_> { server.doors.listeners().iter().map(|at| at.address).collect() };
        let before = ports();

        let changed = "<max_connections>7</max_connections><proxy_protocol>192.0.2.0/24</proxy_protocol>";
        write(&server.home, changed, 60_000);
        now(&server).await;

        assert_eq!(server.state().prefs_error, None);
        assert_eq!(ports(), before);
        // Taken over all the same: whoever is no listed proxy is turned away.
        let mut stranger = tokio::net::TcpStream::connect(before.first().unwrap()).await.unwrap();
        let greeting = tokio::io::AsyncReadExt::read(&mut stranger, &mut [0; 8]).await;
        assert!(matches!(greeting, Ok(0) | Err(_)), "{greeting:?}");
    }
}
