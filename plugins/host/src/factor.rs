//! A plugin as the gate sees it: a second factor.
//!
//! Here the gate's words become fields and the plugin's answers become the gate's words. Everything that a plugin says is
//! judged on the way: a right answer without the thing that it used up, a secret that is empty, a status that does not
//! belong to the call, are faults, and a fault is a channel that cannot serve.
//!
//! Never: a default in the place of an answer.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_access::{
    ChannelName, Enrolment, Expects, Factor, FactorError, FactorKind, FactorOrigin, FactorUser, Prompt, Verdict,
};
use lockgate_model::Secret;
use lockgate_plugin::abi;
use lockgate_plugin::exchange::{Fields, What};

use crate::PluginError;
use crate::line::{Answer, Line};
use crate::redact::Secrets;
use crate::report::Role;

pub(crate) struct PluginFactor {
    channel: ChannelName,
    line: Arc<Line>,
}

impl PluginFactor {
    pub(crate) fn new(channel: ChannelName, line: Arc<Line>) -> Self {
        Self { channel, line }
    }

    async fn call(&self, what: What, fields: Fields) -> Result<Answer, FactorError> {
        let answer = self.line.call(what, fields).await.map_err(|error| match error {
            PluginError::Late { .. } => FactorError::Late(self.channel.clone()),
            PluginError::Plugin { why } => self.failed(why),
            _ => FactorError::Unavailable(self.channel.clone()),
        })?;
        match answer.status {
            abi::OK | abi::NO | abi::LATER => Ok(answer),
            abi::UNAVAILABLE => Err(FactorError::Unavailable(self.channel.clone())),
            _ => Err(self.failed(answer.why())),
        }
    }

    fn failed(&self, reason: impl Into<String>) -> FactorError {
        FactorError::Failed { channel: self.channel.clone(), reason: reason.into() }
    }
}

#[async_trait]
impl Factor for PluginFactor {
    fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// A plugin that plays both parts judges for itself. One that was never loaded counts as judging too: it is asked,
    /// fails, and lets nobody in.
    fn kind(&self) -> FactorKind {
        let roles = self.line.report().roles;
        if roles.contains(&Role::Delivers) && !roles.contains(&Role::Verifies) {
            FactorKind::Delivers
        } else {
            FactorKind::Verifies
        }
    }

    fn enrols(&self) -> bool {
        self.line.report().enrols
    }

    async fn serves(&self, user: &FactorUser) -> Result<bool, FactorError> {
        let answer = self.call(What::Serves, user_fields(user)).await?;
        match answer.status {
            abi::OK => Ok(true),
            abi::NO => Ok(false),
            _ => Err(self.failed("it may not answer serves with LATER")),
        }
    }

    async fn enroll(&self, user: &FactorUser) -> Result<Enrolment, FactorError> {
        let answer = self.call(What::Enroll, user_fields(user)).await?;
        let secret = answer.field("secret").filter(|secret| !secret.is_empty());
        let (abi::OK, Some(secret)) = (answer.status, secret) else {
            return Err(self.failed("it did not enrol the user"));
        };
        let uri = std::str::from_utf8(answer.field("uri").unwrap_or_default())
            .map_err(|_| self.failed("its enrolment URI is not text"))?;
        Ok(Enrolment { secret: Secret::new(secret.to_vec()), uri: Secret::new(uri.to_owned()) })
    }

    async fn begin(
        &self,
        user: &FactorUser,
        origin: &FactorOrigin,
        code: Option<&Secret<String>>,
    ) -> Result<Prompt, FactorError> {
        let mut fields = user_fields(user);
        put_origin(&mut fields, origin);
        if let Some(code) = code {
            put(&mut fields, "code", code.expose());
        }
        let secrets = Secrets::of_call(&fields);
        let answer = self.call(What::Begin, fields).await?;
        if answer.status != abi::OK {
            return Err(self.failed("it did not begin"));
        }
        let expects = match answer.field("expects") {
            None | Some(b"" | b"code") => Expects::Code,
            Some(b"nothing") => Expects::Nothing,
            Some(_) => return Err(self.failed("it expects what is neither code nor nothing")),
        };
        let text = std::str::from_utf8(answer.field("prompt").unwrap_or_default())
            .map_err(|_| self.failed("its prompt is not text"))?;
        // Shown to whoever logs in, on every kind of door: one line, and not the code itself.
        let text = secrets.blot(text.trim(), [].into_iter());
        Ok(Prompt {
            text: Some(text).filter(|text| !text.is_empty()),
            expects,
            state: answer.field("state").unwrap_or_default().to_vec(),
        })
    }

    async fn verify(
        &self,
        user: &FactorUser,
        origin: &FactorOrigin,
        state: &[u8],
        answer: &Secret<String>,
    ) -> Result<Verdict, FactorError> {
        let mut fields = user_fields(user);
        put_origin(&mut fields, origin);
        put(&mut fields, "state", state);
        put(&mut fields, "answer", answer.expose());
        let said = self.call(What::Verify, fields).await?;
        match said.status {
            abi::OK => match said.field("used") {
                Some(used) if (1..=LONGEST_USED).contains(&used.len()) => Ok(Verdict::Right { used: burnt(used) }),
                _ => Err(self.failed("it calls an answer right and does not say what is used up by it")),
            },
            abi::NO => Ok(Verdict::Wrong),
            abi::LATER => Ok(Verdict::Later),
            _ => Err(self.failed("it says neither right nor wrong")),
        }
    }
}

impl Answer {
    /// The plugin's own words, which the line has cleaned of secrets.
    pub(crate) fn why(&self) -> String {
        self.field("error").map(|why| String::from_utf8_lossy(why).into_owned()).unwrap_or_default()
    }
}

/// What is never to be accepted again, the one used now first. A step burns the two before it too: with the widest window
/// there is (one back, one ahead), no older one can still be right.
fn burnt(used: &[u8]) -> Vec<String> {
    let digits = used.iter().all(u8::is_ascii_digit);
    match std::str::from_utf8(used).ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok()) {
        Some(step) => (0..=2).filter_map(|back| step.checked_sub(back)).map(|step| format!("step:{step}")).collect(),
        None => vec![format!("once:{}", used.iter().map(|byte| format!("{byte:02x}")).collect::<String>())],
    }
}

fn user_fields(user: &FactorUser) -> Fields {
    let mut fields = Fields::new();
    put(&mut fields, "user.name", user.name.as_str());
    put(&mut fields, "user.flagged", if user.flagged { "1" } else { "0" });
    if let Some(email) = &user.email {
        put(&mut fields, "user.email", email);
    }
    if let Some(phone) = &user.phone {
        put(&mut fields, "user.phone", phone);
    }
    if let Some(secret) = &user.secret {
        put(&mut fields, "user.secret", secret.expose());
    }
    // A text that does not fit the border is left out: it must not keep its owner from logging in.
    let fitting = |(name, text): &(&String, &String)| name.len() <= LONGEST_TEXT_NAME && text.len() <= LONGEST_TEXT;
    for (name, text) in user.texts.iter().filter(fitting).take(MOST_TEXTS) {
        put(&mut fields, &format!("user.x_{name}"), text);
    }
    fields
}

pub(crate) fn put_origin(fields: &mut Fields, origin: &FactorOrigin) {
    put(fields, "origin.protocol", origin.protocol.as_str());
    put(fields, "origin.address", origin.address.to_string());
}

fn put(fields: &mut Fields, name: &str, value: impl AsRef<[u8]>) {
    fields.push((name.to_owned(), value.as_ref().to_vec().into()));
}

const LONGEST_USED: usize = 256;
/// Together well below what a call may carry.
const MOST_TEXTS: usize = 100;
const LONGEST_TEXT: usize = 4096;
const LONGEST_TEXT_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_burns_itself_and_every_older_one_that_could_still_be_right() {
        assert_eq!(burnt(b"100"), ["step:100", "step:99", "step:98"]);
        assert_eq!(burnt(b"1"), ["step:1", "step:0"]);
    }

    #[test]
    fn anything_else_burns_itself_alone() {
        assert_eq!(burnt(b"push-7"), ["once:707573682d37"]);
        assert_eq!(burnt(&[0xff]), ["once:ff"]);
        assert_eq!(burnt(b"99999999999999999999999").len(), 1);
    }
}
