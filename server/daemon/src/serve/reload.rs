//! Following prefs.xml while the server runs: taken over as a whole, or not at all.

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
    let mut known = look();
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
pub(super) async fn now(server: &Arc<Server>) {
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
