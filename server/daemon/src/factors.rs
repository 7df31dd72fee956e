//! The plugins of a home, started for the server or for one command.

use crate::{home::Home, wiring};
use lockgate_access::Factor;
use lockgate_config::Prefs;
use lockgate_plugins::PluginHost;
use lockgate_users::SecretKey;
use std::sync::Arc;

/// The plugins that prefs.xml switches on.
pub(crate) async fn start(home: &Home, prefs: &Prefs, key: &SecretKey) -> anyhow::Result<PluginHost> {
    // Secrets may stand in files: not for the runtime's own thread.
    let (home, prefs, key) = (home.clone(), prefs.clone(), key.clone());
    let (settings, specs) = tokio::task::spawn_blocking(move || {
        anyhow::Ok((wiring::plugin_settings(&prefs, &home), wiring::plugin_specs(&prefs, &home, &key)?))
    })
    .await??;
    Ok(PluginHost::start(settings, &specs).await)
}

/// The factor of this channel, where it is loaded.
pub(crate) fn factor(host: &PluginHost, channel: &str) -> Option<Arc<dyn Factor>> {
    host.factors().into_iter().find(|factor| factor.channel().as_str() == channel)
}
