//! `lockgate otp`: second factors of users.

use super::name;
use crate::{
    cli::Otp,
    factors,
    home::Home,
    output::{self, Usage},
    preferences,
    stores::Stores,
    wiring,
};
use anyhow::{Context as _, bail};
use lockgate_access::policy::{self, Fitness, Rule};
use lockgate_config::Prefs;
use lockgate_model::{Protocol, Secret};
use serde_json::{Value, json};
use std::{
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
};

/// The channel that an authenticator app enrols with.
const AUTHENTICATOR: &str = "totp";

/// Runs one of the `otp` commands.
pub(crate) async fn run(home: &Home, command: Otp, as_json: bool) -> anyhow::Result<ExitCode> {
    let stores = Stores::open(home).await?;
    match command {
        Otp::Enroll { name: who } => enroll(&stores, &who, as_json).await?,
        Otp::Reset { name: who } => {
            let ended = stores.accounts().reset_factors(&name(&who)?).await?;
            if ended == 0 {
                output::line(format_args!("{who} had no enrolment"));
            }
        }
        Otp::Recovery { name: who } => {
            let codes = stores.accounts().recovery_codes(&name(&who)?).await?;
            tell_codes(&codes, as_json);
        }
        Otp::Invite { name: who } => invite(&stores, &who, as_json).await?,
        Otp::Explain { name: who, protocol, from } => {
            explain(&stores, &who, protocol.as_deref(), from, as_json).await?
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn enroll(stores: &Stores, who: &str, as_json: bool) -> anyhow::Result<()> {
    let who = name(who)?;
    stores.accounts().show(&who).await?;
    let prefs = preferences::load(&stores.home)?.prefs;
    let host = factors::start(&stores.home, &prefs, &stores.key).await?;
    let Some(factor) = factors::factor(&host, AUTHENTICATOR) else {
        bail!("the plugin totp is not loaded: enable it under plugins in prefs.xml, see `lockgate plugin list`");
    };
    let enrolled = stores.accounts().enrol(&who, &*factor).await?;
    if as_json {
        let codes: Vec<&str> = enrolled.recovery_codes.iter().map(|code| code.expose().as_str()).collect();
        output::json(
            &json!({ "secret": enrolled.secret.expose(), "uri": enrolled.uri.expose(), "recovery_codes": codes }),
        );
        return Ok(());
    }
    let code = qrcode::QrCode::new(enrolled.uri.expose()).context("the secret does not fit into a QR code")?;
    output::line(code.render::<qrcode::render::unicode::Dense1x2>().quiet_zone(true).build());
    output::line(format_args!("Scan this with an authenticator app, or type the secret: {}", enrolled.secret.expose()));
    tell_codes(&enrolled.recovery_codes, false);
    Ok(())
}

fn tell_codes(codes: &[Secret<String>], as_json: bool) {
    let plain: Vec<&str> = codes.iter().map(|code| code.expose().as_str()).collect();
    if as_json {
        output::json(&json!({ "recovery_codes": plain }));
        return;
    }
    output::line("Recovery codes, each for one login without the app. They are not shown again:");
    for code in plain {
        output::line(format_args!("  {code}"));
    }
}

async fn invite(stores: &Stores, who: &str, as_json: bool) -> anyhow::Result<()> {
    let invitation = stores.accounts().invite(&name(who)?, &*stores.ledger).await?;
    let path = format!("/enrol#{}", invitation.token.expose());
    let public = preferences::load(&stores.home)?.prefs.http.public_url;
    let link = public.as_ref().map(|url| format!("{}{path}", url.as_str().trim_end_matches('/')));
    if as_json {
        let token = invitation.token.expose();
        output::json(&json!({ "url": link, "path": path, "token": token, "expires_in_s": 24 * 60 * 60 }));
    } else {
        output::note("this version has no page yet that takes the link: enrol the user with `lockgate otp enroll`");
        // Without public_url nobody here knows by which name users reach the server.
        output::line(link.unwrap_or_else(|| format!("https://HOST:PORT{path}")));
    }
    Ok(())
}

async fn explain(
    stores: &Stores,
    who: &str,
    only: Option<&str>,
    from: Option<IpAddr>,
    as_json: bool,
) -> anyhow::Result<()> {
    let only = only.map(|word| word.parse::<Protocol>().map_err(|error| Usage(error.to_string()))).transpose()?;
    let account = stores.accounts().show(&name(who)?).await?;
    let prefs = preferences::load(&stores.home)?.prefs;
    let settings = wiring::access(&prefs);
    let address = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let rows: Vec<Row> = Protocol::ALL
        .into_iter()
        .filter(|protocol| only.is_none_or(|wanted| wanted == *protocol))
        .map(|protocol| Row::of(protocol, &policy::explain(&settings, &account, protocol, address), &prefs))
        .collect();
    if as_json {
        output::json(&rows.iter().map(Row::json).collect());
        return Ok(());
    }
    let rows: Vec<[String; 4]> = rows
        .into_iter()
        .map(|row| {
            let due = if row.due { "due" } else { "not due" };
            let channels = row.channels();
            [row.protocol.to_string(), due.to_owned(), format!("{}: {}", row.rule, row.because), channels]
        })
        .collect();
    output::table(["PROTOCOL", "CODE", "RULE", "CHANNELS"], &rows);
    Ok(())
}

/// What `otp explain` says of one protocol.
struct Row {
    protocol: Protocol,
    due: bool,
    rule: u8,
    because: String,
    channels: Vec<String>,
    /// Why each of the other channels cannot serve.
    cannot: Vec<String>,
}

impl Row {
    fn of(protocol: Protocol, why: &policy::Explanation, prefs: &Prefs) -> Self {
        let enabled = |channel: &str| prefs.plugins.iter().any(|plugin| plugin.enabled && plugin.channel() == channel);
        let (mut channels, mut cannot) = (Vec::new(), Vec::new());
        for (channel, fitness) in &why.channels {
            match fitness {
                _ if !enabled(channel.as_str()) => cannot.push(format!("{channel}: its plugin is not enabled")),
                Fitness::Fits | Fitness::AskPlugin => channels.push(channel.to_string()),
                unfit => cannot.push(format!("{channel}: {}", unfit.words())),
            }
        }
        let rule = why.decision.rule;
        let asks = matches!(rule, Rule::Enforced | Rule::Flagged | Rule::Enrolled);
        let because = if asks && !why.decision.due {
            format!("{protocol} is not in twofactor_secret_auto_otp_enable_protocols")
        } else {
            rule.words().to_owned()
        };
        Self { protocol, due: why.decision.due, rule: rule.number(), because, channels, cannot }
    }

    fn json(&self) -> Value {
        json!({
            "protocol": self.protocol.as_str(), "due": self.due, "rule": self.rule, "because": self.because,
            "channels": self.channels, "cannot_serve": self.cannot,
        })
    }

    /// The last column: a due factor that no channel can serve is a user who cannot log in.
    fn channels(&self) -> String {
        if !self.channels.is_empty() || !self.due {
            return self.channels.join(",");
        }
        format!("none, every login is refused ({})", self.cannot.join("; "))
    }
}
