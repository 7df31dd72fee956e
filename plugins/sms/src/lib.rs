//! The SMS factor: the code goes out by the HTTP request that the operator describes, as gateways such as Twilio take it.
//!
//! The keys are those of prefs.xml: `otp_url`, `otp_url_verb`, `otp_post`, `otp_username`, `otp_password`, `otp_from`,
//! `otp_extra1`, `otp_extra2`, `otp_proxy`. Any 2xx answer counts as sent; nothing of an answer is read but its status.
//!
//! Never: follows a redirect, sends in clear to another machine, tries twice, or lets the address, the number or the code
//! into a log: errors say what happened in words of their own.

mod request;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use lockgate_plugin::{Begin, Begun, Factor, Failure, Level, Plugin, Settings, User};
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Method, Proxy, Url};

use request::{Filled, Request};

/// A gateway, or none where the operator has not set `otp_url`.
struct TextMessage {
    gateway: Option<Gateway>,
}

struct Gateway {
    request: Request,
    /// The operator's values, by place.
    values: BTreeMap<&'static str, String>,
    proxy: Option<Proxy>,
    /// Made with the first message: it brings a thread, and the system's certificates into memory.
    client: OnceLock<Client>,
}

impl Plugin for TextMessage {
    fn open(settings: &Settings<'_>) -> Result<Self, Failure> {
        let Some(url) = settings.text("otp_url") else {
            return Ok(Self { gateway: None });
        };
        if url.trim() == "SMTP" {
            return Err(Failure::error("otp_url is SMTP, which is the email channel; sms wants an address"));
        }
        let verb = settings.text("otp_url_verb").unwrap_or("POST").trim().to_ascii_uppercase();
        let post = settings.text("otp_post").unwrap_or_default();
        let request = Request::parse(url, &verb, post)?;
        if verb == "GET" && !post.is_empty() {
            settings.host().log(Level::Warn, "otp_url_verb is GET, so otp_post is not sent");
        }
        let values = ["otp_username", "otp_password", "otp_from", "otp_extra1", "otp_extra2"];
        let values = values.map(|key| (key, settings.text(key).unwrap_or_default().to_owned()));
        let proxy = settings.text("otp_proxy").map(|proxy| through(proxy, request.stays_here())).transpose()?;
        let gateway = Gateway { request, values: values.into(), proxy, client: OnceLock::new() };
        Ok(Self { gateway: Some(gateway) })
    }
}

impl Factor for TextMessage {
    fn serves(&self, user: &User<'_>) -> Result<bool, Failure> {
        Ok(self.gateway.is_some() && user.phone().is_some())
    }

    fn begin(&self, ask: &Begin<'_>) -> Result<Begun, Failure> {
        let gateway = self.gateway.as_ref().ok_or_else(|| Failure::unavailable("otp_url is not set"))?;
        let user = ask.user();
        let phone = user.phone().ok_or_else(|| Failure::unavailable("the user has no phone number"))?.trim();
        let code = ask.code()?;
        let filled = gateway.request.fill(|place| match place {
            "otp_to" => phone.to_owned(),
            "otp_token" => code.to_owned(),
            _ => match place.strip_prefix("user_x_") {
                Some(name) => user.extra(name).unwrap_or_default().to_owned(),
                None => gateway.values.get(place).cloned().unwrap_or_default(),
            },
        })?;
        gateway.send(filled)?;
        Ok(Begun::prompt(prompt(phone)))
    }
}

impl Gateway {
    fn send(&self, filled: Filled) -> Result<(), Failure> {
        let mut request = self.client()?.request(filled.method.clone(), filled.address);
        if let Some((user, password)) = filled.basic {
            request = request.basic_auth(user, Some(password));
        }
        request = match filled.body {
            Some((kind, body)) => request.header(CONTENT_TYPE, kind).body(body),
            // Some gateways answer 411 to a POST that does not say that nothing follows.
            None if filled.method != Method::GET => request.header(CONTENT_LENGTH, "0"),
            None => request,
        };
        let answer = request.send().map_err(|error| Failure::unavailable(what_went_wrong(&error)))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => Err(Failure::unavailable(format!(
                "the gateway answered {}; redirects are not followed",
                status.as_u16()
            ))),
            status => Err(Failure::unavailable(format!("the gateway answered {}", status.as_u16()))),
        }
    }

    fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut builder = ClientBuilder::new()
            .user_agent("Lockgate")
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(IN_ALL);
        builder = match &self.proxy {
            Some(proxy) => builder.proxy(proxy.clone()),
            None if self.request.stays_here() => builder.no_proxy(),
            // The environment's variables.
            None => builder,
        };
        let client = builder.build().map_err(|_| {
            Failure::unavailable("no HTTP client can be made; are the system's TLS root certificates installed?")
        })?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// `otp_proxy`. A request that may be in clear because it stays on this machine may not leave it by a proxy.
fn through(proxy: &str, stays_here: bool) -> Result<Proxy, Failure> {
    let wrong = || Failure::error("otp_proxy is no http:// or https:// address of a proxy");
    let proxy = proxy.trim();
    let address = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let url = Url::parse(&address).map_err(|_| wrong())?;
    let host = url.host_str().ok_or_else(wrong)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong());
    }
    let here = host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if stays_here && !here {
        return Err(Failure::error("otp_url is on this machine and otp_proxy on another; leave otp_proxy empty"));
    }
    Proxy::all(address).map_err(|_| wrong())
}

/// The last two digits at most: enough to tell one's own numbers apart.
fn prompt(phone: &str) -> String {
    let digits: Vec<char> = phone.chars().filter(char::is_ascii_digit).collect();
    match digits.as_slice() {
        [_, _, _, .., last_but_one, last] => {
            format!("Code sent by text message to the number ending in {last_but_one}{last}")
        }
        _ => "Code sent by text message".to_owned(),
    }
}

/// Without the error's own text, which may quote the address and with it the code.
fn what_went_wrong(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "the gateway did not answer in time"
    } else if error.is_connect() {
        "the gateway cannot be reached, or its certificate is not one that this system trusts"
    } else if error.is_builder() {
        "the request cannot be made from otp_url and the values"
    } else {
        "the gateway broke off"
    }
}

lockgate_plugin::export! {
    plugin: TextMessage,
    name: "sms",
    summary: "sends the code by text message, through any HTTP gateway",
    settings: include_str!("settings.json"),
    roles: [delivers],
    flags: [],
}

const CONNECT: Duration = Duration::from_secs(3);
/// Below the 5 s after which the worker would be ended.
const IN_ALL: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests;
