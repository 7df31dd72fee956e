//! A factor that posts `{"user","code"}` to the web hook in its setting `url`. The same in C: ../factor-webhook-c.

use lockgate_plugin::{Begin, Begun, Factor, Failure, Plugin, Settings, User};
use reqwest::blocking::Client;

struct Webhook(String);

impl Plugin for Webhook {
    fn open(settings: &Settings<'_>) -> Result<Self, Failure> {
        Ok(Self(settings.required("url")?.to_owned()))
    }
}

impl Factor for Webhook {
    fn serves(&self, _: &User<'_>) -> Result<bool, Failure> {
        Ok(true)
    }

    fn begin(&self, ask: &Begin<'_>) -> Result<Begun, Failure> {
        let body = serde_json::json!({ "user": ask.user().name()?, "code": ask.code()? });
        let hook = Client::builder().timeout(std::time::Duration::from_secs(4)).build();
        let hook = hook.map_err(|_| Failure::error("no HTTP client can be made"))?;
        let request = hook.post(&self.0).header("content-type", "application/json");
        match request.body(body.to_string()).send() {
            Ok(answer) if answer.status().is_success() => Ok(Begun::prompt("Code sent to your web hook")),
            _ => Err(Failure::unavailable("the web hook did not take the code")),
        }
    }
}

lockgate_plugin::export! {
    plugin: Webhook,
    name: "webhook",
    summary: "posts the code to a web hook",
    settings: r#"{"type":"object","properties":{"url":{"type":"string"}},"required":["url"]}"#,
    roles: [delivers],
    flags: [],
}
