//! The channels of a user: which could serve, in which order, and how one is begun.
//!
//! A factor that is missing, failing, late or panicking is a channel that cannot serve; the next one is tried, and past the
//! last the login is denied. Nothing here ever turns "due" into "not due".

use crate::{
    ChannelName, Expects, Factor, FactorError, FactorKind, FactorOrigin, FactorUser, Ledger as _, Prompt,
    candidate::Candidate,
    codes::{self, Codes, LiveCode, Purpose},
    gate::{Inner, Rules},
    policy::{self, Fitness},
    reason::{Reason, Refusal},
    sending::{Sending, destinations},
};
use futures_util::{FutureExt as _, future::join_all};
use lockgate_events::Event;
use lockgate_model::{Origin, Secret};
use lockgate_users::Account;
use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

/// The channel of authenticator apps, which send nothing.
const AUTHENTICATOR: &str = "totp";
/// How long a factor may take to say whether it serves somebody at all.
const SERVES_PATIENCE: Duration = Duration::from_secs(2);
/// How long a login waits for another of the same user to have its code sent.
const TURN_PATIENCE: Duration = Duration::from_secs(15);

/// A channel that was begun.
pub(crate) struct Begun {
    pub(crate) channel: String,
    pub(crate) prompt: Prompt,
    /// Of a code that is carried: when it ends, Unix ms.
    pub(crate) until_ms: Option<u64>,
}

/// One login that needs a channel.
pub(crate) struct Need<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) who: &'a Candidate,
    pub(crate) account: &'a Account,
    pub(crate) origin: &'a Origin,
    /// The challenge that a carried code is for; `None`: the client cannot be asked.
    pub(crate) challenge: Option<&'a str>,
}

impl Inner {
    /// The factors that could serve the user, in the order of `otp_channels`. Plugins with rules of their own are asked; one
    /// that does not answer cannot serve.
    pub(crate) async fn serving(&self, rules: &Rules, account: &Account) -> Vec<Arc<dyn Factor>> {
        let asked = rules.settings.channels.iter().filter_map(|name| {
            let factor = rules.factors.iter().find(|factor| factor.channel() == name)?;
            Some(async move {
                let fits = match policy::fitness(name.as_str(), account) {
                    Fitness::Fits => true,
                    Fitness::AskPlugin => {
                        let user = seen_by(&**factor, account);
                        called(&**factor, SERVES_PATIENCE, factor.serves(&user)).await.unwrap_or(false)
                    }
                    _ => false,
                };
                fits.then(|| Arc::clone(factor))
            })
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Begins the first of `factors` that works; the code goes out where the channel carries one.
    pub(crate) async fn begin(&self, need: &Need<'_>, factors: &[Arc<dyn Factor>]) -> Result<Begun, Refusal> {
        let mut refusal = Refusal::from(Reason::NoChannel);
        let all = async {
            let mut sent = Vec::new();
            for factor in factors {
                let begun = match factor.kind() {
                    FactorKind::Verifies => self.begin_verifying(need, &**factor, &mut sent).await,
                    FactorKind::Delivers => self.begin_delivering(need, &**factor, &mut sent).await,
                };
                match begun {
                    Ok(begun) => return Some(begun),
                    Err(why) => refusal = why,
                }
            }
            None
        };
        match tokio::time::timeout(need.rules.settings.patience.channels, all).await {
            Ok(Some(begun)) => Ok(begun),
            Ok(None) => Err(refusal),
            Err(_) => Err(Reason::FactorFailed.into()),
        }
    }

    /// Begins with a factor that verifies. One that is known to call this user somewhere else (a push) is held to the limits
    /// of messages, so that nobody is called until they give in.
    pub(crate) async fn begin_verifying(
        &self,
        need: &Need<'_>,
        factor: &dyn Factor,
        sent: &mut Vec<String>,
    ) -> Result<Begun, Refusal> {
        let user = seen_by(factor, need.account);
        let patience = need.rules.settings.patience.call;
        let channel = factor.channel().as_str();
        let begin = async || {
            let begun = called(factor, patience, factor.begin(&user, &place(need.origin), None)).await;
            let begun = begun.map(|prompt| Begun { channel: channel.to_owned(), prompt, until_ms: None });
            begun.map_err(|_| Refusal::on(Reason::FactorFailed, channel))
        };
        if channel == AUTHENTICATOR {
            return begin().await;
        }
        // Whether it calls people shows with the first prompt; until then one login of a user waits for the other.
        let turn = format!("{}/{channel}", need.who.key);
        let _turn = self.calling_turns.take(&turn, TURN_PATIENCE).await.ok_or(Reason::CodesBusy)?;
        let calls = format!("calls/{turn}");
        let (limits, origin) = (need.rules.settings.send, need.origin);
        let sending = Sending { ledger: &*self.ledger, server: &self.key, limits };
        let known = self.ledger.get(&calls).await?.is_some();
        if known && !sending.may_send(&need.who.key, need.account, channel, origin, sent).await? {
            self.told_of_sending(need, channel, false, "limited");
            return Err(Refusal::on(Reason::SendLimited, channel));
        }
        let begun = begin().await?;
        if !known && begun.prompt.expects == Expects::Nothing {
            self.ledger.put(&calls, b"", STEP_MEMORY).await?;
            sending.may_send(&need.who.key, need.account, channel, origin, sent).await?;
        }
        Ok(begun)
    }

    /// Makes a code, keeps it, and has it carried; or goes on with the code that is live where no new one may be sent.
    async fn begin_delivering(
        &self,
        need: &Need<'_>,
        factor: &dyn Factor,
        sent: &mut Vec<String>,
    ) -> Result<Begun, Refusal> {
        let channel = factor.channel().as_str();
        let user = seen_by(factor, need.account);
        let (code, live) = {
            // Two logins of one user at once: the second sees the code of the first and sends nothing.
            let _turn = self.code_turns.take(&need.who.key, TURN_PATIENCE).await.ok_or(Reason::CodesBusy)?;
            let codes = self.codes();
            let limits = need.rules.settings.send;
            let sending = Sending { ledger: &*self.ledger, server: &self.key, limits };
            if !sending.may_send(&need.who.key, need.account, channel, need.origin, sent).await? {
                return self.go_on(need, &codes, channel).await;
            }
            let code = codes::generate(need.rules.settings.token_length, need.rules.settings.token_numeric)?;
            let life =
                need.account.otp_token_timeout_ms.map_or(need.rules.settings.token_timeout, Duration::from_millis);
            let whose = self.whose(need.who, need.account, channel);
            let purpose = Purpose { channel, origin: need.origin, whose, challenge: need.challenge, life };
            let live = codes.put(&need.who.key, &code, purpose).await?;
            (code, live)
        };
        let patience = need.rules.settings.patience.call;
        let carried = called(factor, patience, factor.begin(&user, &place(need.origin), Some(&code))).await;
        self.told_of_sending(need, channel, carried.is_ok(), if carried.is_ok() { "sent" } else { "channel_failed" });
        match carried {
            Ok(prompt) => Ok(Begun { channel: channel.to_owned(), prompt, until_ms: Some(live.until_ms) }),
            Err(_) => {
                // What a channel says it did not carry must not be a key to anything; unless a newer login has made its own.
                self.void_issue(need, &live).await?;
                Err(Refusal::on(Reason::FactorFailed, channel))
            }
        }
    }

    async fn go_on(&self, need: &Need<'_>, codes: &Codes<'_>, channel: &str) -> Result<Begun, Refusal> {
        let live = codes.live(&need.who.key).await?;
        match live.filter(|live| self.is_for(live, need.who, need.account, need.origin)) {
            Some(live) => {
                codes.rebind(&need.who.key, &live, need.challenge).await?;
                let prompt = Prompt { text: None, expects: Expects::Code, state: Vec::new() };
                Ok(Begun { channel: live.channel, prompt, until_ms: Some(live.until_ms) })
            }
            None => {
                self.told_of_sending(need, channel, false, "limited");
                Err(Refusal::on(Reason::SendLimited, channel))
            }
        }
    }

    async fn void_issue(&self, need: &Need<'_>, live: &LiveCode) -> Result<(), Refusal> {
        let _turn = self.code_turns.take(&need.who.key, TURN_PATIENCE).await.ok_or(Reason::CodesBusy)?;
        let codes = self.codes();
        if codes.live(&need.who.key).await?.is_some_and(|present| present.issue == live.issue) {
            codes.void(&need.who.key).await?;
        }
        Ok(())
    }

    /// For a client that cannot be asked, and for a question behind a veil: the code goes out after the answer, so that the
    /// time of the answer says nothing. A factor that verifies has nothing to send.
    pub(crate) fn send_behind(self: &Arc<Self>, need: &Need<'_>) {
        let gate = Arc::clone(self);
        let rules = Arc::clone(&self.rules());
        let (who, account, origin) = (need.who.clone(), need.account.clone(), need.origin.clone());
        let challenge = need.challenge.map(str::to_owned);
        tokio::spawn(async move {
            let need =
                Need { rules: &rules, who: &who, account: &account, origin: &origin, challenge: challenge.as_deref() };
            let serving = gate.serving(&rules, &account).await;
            let senders = senders(&serving, &account).await;
            if serving.is_empty() {
                tracing::warn!(user = %account.name, reason = Reason::NoChannel.word(), "no code was sent");
            } else if let Err(refusal) = gate.begin(&need, &senders).await
                && refusal.reason != Reason::NoChannel
            {
                tracing::warn!(user = %account.name, reason = refusal.reason.word(), "no code was sent");
            }
        });
    }

    /// Whether a live code is for a login from here, by the account as it is now.
    pub(crate) fn is_for(&self, live: &LiveCode, who: &Candidate, account: &Account, origin: &Origin) -> bool {
        live.is_for(origin, &self.whose(who, account, &live.channel))
    }

    /// What of an account a code is bound to: its state, and where a channel sends.
    fn whose(&self, who: &Candidate, account: &Account, channel: &str) -> String {
        format!("{} {}", account.epoch.0, destinations(&self.key, &who.key, account, channel).join(" "))
    }

    pub(crate) fn codes(&self) -> Codes<'_> {
        Codes { ledger: &*self.ledger, key: &self.key, now_ms: self.clock.now_ms() }
    }

    fn told_of_sending(&self, need: &Need<'_>, channel: &str, delivered: bool, reason: &str) {
        self.events.announce(&Event::CodeSent {
            user: need.account.name.clone(),
            channel: channel.to_owned(),
            delivered,
            reason: reason.to_owned(),
        });
    }

    /// Marks what a factor says was used: `true` where the first of the list had not been used before, and where it is a step
    /// (`step:N`) none as late was. The list alone would forget how far the steps had come once the clock was set back.
    pub(crate) async fn burn(&self, user: &FactorUser, channel: &str, used: &[String]) -> Result<bool, Refusal> {
        // Bound to the enrolment: after a fresh one the same time step of another secret is another code.
        let secret = user.secret.as_ref().map_or(&[][..], |secret| secret.expose().as_slice());
        let enrolment = self.key.keyed_digest("enrolment", secret);
        let mut first = None;
        let whose = |text: &str| {
            let mut bound = Vec::from(enrolment);
            bound.extend_from_slice(format!("{}\n{channel}\n{text}", user.name).as_bytes());
            hex(&self.key.keyed_digest("used-code", &bound))
        };
        if let Some(step) = used.first().and_then(|text| text.strip_prefix("step:")?.parse().ok()) {
            first = Some(self.ledger.raise(&format!("used/step/{}", whose("step")), step, STEP_MEMORY).await?);
        }
        for (place, text) in used.iter().take(USED_LIMIT).enumerate() {
            let fresh = self.ledger.use_once(&format!("used/factor/{}", whose(text)), USED_MEMORY).await?;
            if place == 0 {
                first = Some(first.unwrap_or(true) && fresh);
            }
        }
        // An empty list is a fault of the factor.
        Ok(first.unwrap_or(false))
    }
}

/// How long a used code of a verifying factor is remembered: far longer than any such code could come round again.
const USED_MEMORY: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long the last step of a user is remembered: longer than any clock is set back.
const STEP_MEMORY: Duration = Duration::from_secs(400 * 24 * 3600);

/// A factor names a handful of used codes; a longer list is a fault and is cut.
const USED_LIMIT: usize = 64;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether any channel might serve the user, without asking a plugin: a client that cannot be asked is answered in a time that
/// depends on none.
pub(crate) fn could_serve(rules: &Rules, account: &Account) -> bool {
    let loaded = |name| rules.factors.iter().any(|factor| factor.channel() == name);
    let fits =
        |name: &ChannelName| matches!(policy::fitness(name.as_str(), account), Fitness::Fits | Fitness::AskPlugin);
    rules.settings.channels.iter().any(|name| loaded(name) && fits(name))
}

/// The factors that have something to send: those that come before the first which verifies and is well.
async fn senders(serving: &[Arc<dyn Factor>], account: &Account) -> Vec<Arc<dyn Factor>> {
    let mut senders = Vec::new();
    for factor in serving {
        match factor.kind() {
            FactorKind::Delivers => senders.push(Arc::clone(factor)),
            FactorKind::Verifies => {
                let user = seen_by(&**factor, account);
                if called(&**factor, SERVES_PATIENCE, factor.serves(&user)).await.unwrap_or(false) {
                    break;
                }
            }
        }
    }
    senders
}

/// What `factor` learns of a user.
pub(crate) fn seen_by(factor: &dyn Factor, account: &Account) -> FactorUser {
    FactorUser {
        name: account.name.clone(),
        email: account.email.clone(),
        phone: account.phone.clone(),
        texts: account.texts.clone(),
        flagged: account.otp_auth,
        secret: account.enrolments.get(factor.channel().as_str()).cloned(),
    }
}

/// What a factor learns of where a login comes from.
pub(crate) fn place(origin: &Origin) -> FactorOrigin {
    FactorOrigin { protocol: origin.protocol, address: origin.address() }
}

/// Calls a factor, with an end to its time and a hold on its panics.
pub(crate) async fn called<T>(
    factor: &dyn Factor,
    patience: Duration,
    call: impl Future<Output = Result<T, FactorError>> + Send,
) -> Result<T, FactorError> {
    let channel = factor.channel();
    let answer = match tokio::time::timeout(patience, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(FactorError::Failed { channel: channel.clone(), reason: "it panicked".into() }),
        Err(_) => Err(FactorError::Late(channel.clone())),
    };
    if let Err(error) = &answer {
        tracing::warn!(%channel, %error, "a channel cannot serve");
    }
    answer
}

/// The words of a prompt for a person, where the factor has none of its own.
fn words(channel: &str, account: &Account) -> String {
    match channel {
        "totp" => "Enter the code that your authenticator app shows.".into(),
        "sms" => {
            let digits: Vec<char> =
                account.phone.iter().flat_map(|phone| phone.chars()).filter(char::is_ascii_digit).collect();
            let end: String = digits.iter().rev().take(2).rev().collect();
            format!("Enter the code sent to your phone number ending in {end}.")
        }
        "email" => "Enter the code sent to your mail address.".into(),
        other => format!("Enter the code of {other}."),
    }
}

/// The words for a person: the factor's own, as far as a line of text goes, or ours.
pub(crate) fn prompt_text(begun: &Begun, account: &Account) -> String {
    match &begun.prompt.text {
        Some(own) => own.chars().filter(|c| !c.is_control()).take(LONGEST_PROMPT).collect(),
        None => words(&begun.channel, account),
    }
}

const LONGEST_PROMPT: usize = 300;

/// A code as it may be typed: nothing but the blanks around it is forgiven here.
pub(crate) fn trimmed(code: &Secret<String>) -> Secret<String> {
    Secret::new(code.expose().trim().to_owned())
}
