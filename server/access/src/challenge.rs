//! The question after a right first factor.
//!
//! A challenge holds the login so far: whose, from where, through which channel. It can be answered by the client that it was
//! made for, a few times, for a while, and not at all once the account has changed. It keeps no code and no secret.

use crate::{
    ChannelName, Factor, FactorKind, Outcome,
    candidate::Candidate,
    channels::{self, Begun, Need},
    codes::{LONGEST_LIFE, millis, random_id},
    first_factor::First,
    gate::{Inner, Rules},
    grants::{Fingerprint, Half},
    login::{PATIENCE, Step, hold_back},
    opening::Opening,
    reason::{Reason, Refusal},
    second_factor::{Answer, Asked, RECOVERY},
    standing::standing,
};
use lockgate_events::LoginResult;
use lockgate_model::{Door, Origin, Protocol, Secret};
use lockgate_users::{Account, Epoch};
use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// 128 random bits, written as 32 hex digits or more.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ChallengeId(pub(crate) String);

impl ChallengeId {
    /// As a client shows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why something is asked. SSH may report partial success only for the first (RFC 4252 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// What was just shown was right, and one more factor is due.
    NextFactor,
    /// What was just shown was wrong, and another try is left.
    TryAgain,
}

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    /// A code to type.
    Code,
    /// Nothing but patience: the factor waits for the person elsewhere (push). Answer with an empty code.
    Nothing,
}

/// The question. It holds the login so far; answering consumes it.
#[must_use = "dropping a challenge abandons the login"]
#[derive(Debug)]
pub struct Challenge {
    id: ChallengeId,
    because: Because,
    channel: ChannelName,
    prompt: String,
    expects: Expects,
    alternatives: Vec<ChannelName>,
    pub(crate) pending: Box<Pending>,
}

/// The login so far, for nobody's eyes.
pub(crate) struct Pending {
    gate: Arc<Inner>,
    pub(crate) who: Candidate,
    epoch: Epoch,
    first: First,
    remembered: Option<Fingerprint>,
    /// Under which fingerprint, together with the code, the login may be repeated.
    half: Option<Half>,
    /// The client it was made for.
    pub(crate) client: Client,
    /// What the factor handed back.
    state: Vec<u8>,
    wrong: u32,
    pub(crate) until_ms: u64,
    /// Asked for the sake of appearance.
    decoy: bool,
    /// Asked behind a veil: what comes of it must look alike, whether it is a decoy or not.
    veiled: bool,
    unanswered: Option<Unanswered>,
}

/// A question behind a veil that nobody has answered yet. Given up so it counts against its address like a wrong answer, or
/// the veil would be a way to try passwords that nobody counts.
struct Unanswered {
    gate: Weak<Inner>,
    origin: Origin,
}

impl Unanswered {
    fn new(gate: &Arc<Inner>, origin: &Origin) -> Self {
        Self { gate: Arc::downgrade(gate), origin: origin.clone() }
    }

    fn settle(mut self) {
        self.gate = Weak::new();
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let (Some(gate), Ok(runtime)) = (self.gate.upgrade(), Handle::try_current()) {
            let origin = self.origin.clone();
            runtime.spawn(async move { gate.count_denial(&origin, Reason::Veiled).await });
        }
    }
}

/// What makes two requests come from one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) door: Door,
    pub(crate) protocol: Protocol,
}

impl Client {
    pub(crate) fn of(origin: &Origin) -> Self {
        Self { address: origin.address(), door: origin.door, protocol: origin.protocol }
    }
}

/// Whether a wrong first factor shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Veil {
    /// It is denied.
    Open,
    /// It is answered with a question, like a right one.
    Drawn,
}

/// A login that must be asked.
pub(crate) struct Question<'a> {
    pub(crate) rules: &'a Arc<Rules>,
    pub(crate) who: &'a Candidate,
    pub(crate) account: &'a Account,
    pub(crate) origin: &'a Origin,
    pub(crate) first: First,
    pub(crate) remembered: Option<Fingerprint>,
    pub(crate) half: Option<Half>,
    pub(crate) veil: Veil,
}

impl Challenge {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ChallengeId {
        &self.id
    }

    /// Why it is asked.
    #[must_use]
    pub fn because(&self) -> Because {
        self.because
    }

    /// Through which channel the answer comes to the user.
    #[must_use]
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// For a person: `Verification code: ` on SSH is the door's own; this text says which code, without secrets (the last
    /// digits of a phone number at most).
    #[must_use]
    pub fn prompt(&self) -> &str {
        &self.prompt
    }

    /// What to answer with.
    #[must_use]
    pub fn expects(&self) -> Expects {
        self.expects
    }

    /// How long it can still be answered.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        Duration::from_millis(self.pending.until_ms.saturating_sub(self.pending.gate.clock.now_ms()))
    }

    /// Other channels that the user could choose.
    #[must_use]
    pub fn alternatives(&self) -> &[ChannelName] {
        &self.alternatives
    }

    /// Answers it. A wrong code gives [`Outcome::Challenge`] with [`Because::TryAgain`] while tries are left (N7a: 3 in all),
    /// else [`Outcome::Denied`]. A recovery code is an answer to any challenge.
    ///
    /// Runs to its end where the future is dropped: a code that was shown is used up, a wrong one counted.
    pub async fn answer(self, origin: &Origin, code: Secret<String>) -> Outcome {
        let (gate, origin) = (Arc::clone(&self.pending.gate), origin.clone());
        let said = self.pending.who.said.clone();
        let step = {
            let (gate, origin) = (Arc::clone(&gate), origin.clone());
            async move { gate.answered(self, &origin, &code).await }
        };
        gate.detached(origin, said, step).await
    }

    /// The same login through another channel of the user. An unknown or unusable one leaves the challenge as it was.
    pub async fn through(self, origin: &Origin, channel: &str) -> Outcome {
        let (gate, origin, channel) = (Arc::clone(&self.pending.gate), origin.clone(), channel.to_owned());
        let said = self.pending.who.said.clone();
        let step = {
            let (gate, origin) = (Arc::clone(&gate), origin.clone());
            async move { gate.turned(self, &origin, &channel).await }
        };
        gate.detached(origin, said, step).await
    }

    /// Keeps it for a later request of the same client; [`crate::Gate::unpark`] brings it back.
    pub async fn park(self) -> ChallengeId {
        let id = self.id.clone();
        let gate = Arc::clone(&self.pending.gate);
        gate.parked.put(self, gate.clock.now_ms());
        id
    }

    fn try_again(mut self) -> Self {
        self.because = Because::TryAgain;
        self.pending.wrong = self.pending.wrong.saturating_add(1);
        self
    }

    /// Whether the question is put again after an answer that was refused.
    fn leaves_a_try(&self, reason: Reason, allowed: u32) -> bool {
        let again = if self.pending.veiled { leaves_a_try_behind_a_veil(reason) } else { leaves_a_try(reason) };
        again && self.pending.wrong.saturating_add(1) < allowed
    }

    /// Whether it is still what its client may answer.
    fn stands_for(&self, origin: &Origin, now_ms: u64) -> Result<(), Refusal> {
        if self.pending.client != Client::of(origin) {
            return Err(Reason::ChallengeForeign.into());
        }
        if self.pending.until_ms <= now_ms {
            return Err(Reason::ChallengeExpired.into());
        }
        Ok(())
    }
}

impl Inner {
    /// Makes a challenge and has the code sent where the channel sends.
    pub(crate) async fn ask(self: &Arc<Self>, question: Question<'_>) -> Result<Challenge, Refusal> {
        let Question { rules, who, account, origin, .. } = question;
        let serving = self.serving(rules, account).await;
        let id = random_id()?;
        let need = Need { rules, who, account, origin, challenge: Some(&id) };
        let begun = match serving.first() {
            Some(factor) if question.veil == Veil::Drawn && factor.kind() == FactorKind::Delivers => {
                // The time that a message takes would lift the veil.
                self.send_behind(&need);
                let prompt = crate::Prompt { text: None, expects: Expects::Code, state: Vec::new() };
                let life = rules.settings.token_timeout.min(LONGEST_LIFE);
                let until_ms = Some(self.clock.now_ms().saturating_add(millis(life)));
                Begun { channel: factor.channel().as_str().to_owned(), prompt, until_ms }
            }
            _ => self.begin(&need, &serving).await?,
        };
        let veiled = question.veil == Veil::Drawn;
        let until_ms =
            begun.until_ms.unwrap_or_else(|| self.clock.now_ms().saturating_add(millis(rules.settings.challenge_life)));
        let channel = ChannelName::new(&begun.channel).ok_or(Reason::InternalFault)?;
        Ok(Challenge {
            id: ChallengeId(id),
            because: Because::NextFactor,
            prompt: channels::prompt_text(&begun, account),
            expects: begun.prompt.expects,
            alternatives: others(&serving, &channel),
            channel,
            pending: Box::new(Pending {
                gate: Arc::clone(self),
                who: who.clone(),
                epoch: account.epoch,
                first: question.first,
                remembered: question.remembered,
                half: question.half,
                client: Client::of(origin),
                state: begun.prompt.state,
                wrong: 0,
                until_ms,
                decoy: false,
                veiled,
                unanswered: veiled.then(|| Unanswered::new(self, origin)),
            }),
        })
    }

    /// A challenge that no answer satisfies.
    pub(crate) fn decoy(
        self: &Arc<Self>,
        rules: &Rules,
        who: &Candidate,
        origin: &Origin,
    ) -> Result<Challenge, Refusal> {
        let channel = rules.settings.channels.first().cloned().ok_or(Reason::NoChannel)?;
        Ok(Challenge {
            id: ChallengeId(random_id()?),
            because: Because::NextFactor,
            prompt: String::new(),
            expects: Expects::Code,
            alternatives: Vec::new(),
            channel,
            pending: Box::new(Pending {
                gate: Arc::clone(self),
                who: who.clone(),
                epoch: Epoch(0),
                first: First::Password,
                remembered: None,
                half: None,
                client: Client::of(origin),
                state: Vec::new(),
                wrong: 0,
                until_ms: self.clock.now_ms().saturating_add(millis(rules.settings.challenge_life)),
                decoy: true,
                veiled: true,
                unanswered: Some(Unanswered::new(self, origin)),
            }),
        })
    }

    async fn answered(self: &Arc<Self>, mut challenge: Challenge, origin: &Origin, code: &Secret<String>) -> Outcome {
        let started = Instant::now();
        challenge.pending.unanswered.take().into_iter().for_each(Unanswered::settle);
        let rules = self.rules();
        // An answer that takes longer is denied.
        let patience = PATIENCE + rules.settings.patience.channels.max(rules.settings.patience.person);
        let walked = tokio::time::timeout(patience, self.judge(&rules, &challenge, origin, code)).await;
        let walked = walked.unwrap_or_else(|_| Err(Reason::TooSlow.into()));
        match walked {
            Err(refusal) if challenge.leaves_a_try(refusal.reason, rules.settings.max_attempts) => {
                self.count_denial(origin, refusal.reason).await;
                self.record(
                    LoginResult::Denied,
                    origin,
                    &challenge.pending.who.said,
                    refusal.reason,
                    refusal.channel,
                    None,
                );
                hold_back(started, challenge.pending.who.floor).await;
                Outcome::Challenge(challenge.try_again())
            }
            walked => self.conclude(origin, &challenge.pending.who, started, walked, Veil::Open).await,
        }
    }

    /// The rest of the road: everything that was true when the challenge was made is looked at again.
    async fn judge(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        challenge: &Challenge,
        origin: &Origin,
        code: &Secret<String>,
    ) -> Result<Step, Refusal> {
        let pending = &challenge.pending;
        challenge.stands_for(origin, self.clock.now_ms())?;
        if self.addresses.is_banned(origin.address()) {
            return Err(Reason::Banned.into());
        }
        if !self.events.healthy() {
            return Err(Reason::AuditFailed.into());
        }
        if pending.decoy {
            return Err(Reason::Veiled.into());
        }
        let account = self.same_account(pending, origin).await?;
        let channel = challenge.channel.as_str();
        let asked = Asked::Challenge {
            id: challenge.id.as_str(),
            channel,
            state: &pending.state,
            elsewhere: challenge.expects == Expects::Nothing,
        };
        // Where the person answers elsewhere nothing that was typed says who comes again.
        let half = pending.half.filter(|_| challenge.expects == Expects::Code);
        let remembered = pending.remembered.or_else(|| half.map(|half| half.with(&self.key, code)));
        // A further connection of a client that was asked brings the code of the first again: no second use of it, as long as
        // the login that it belongs to lives. Guesses at that code stop where those at any other do.
        if half.is_some()
            && let Some(fingerprint) = &remembered
            && self.takes_codes(rules, &pending.who.key).await?
            && let Some(session) = self.resume_as(rules, origin, &account, fingerprint).await
        {
            return Ok(Step::Open(session, Reason::Resumed));
        }
        let answer = Answer { rules, who: &pending.who, account: &account, origin, asked, code };
        let factor = self.second_factor(&answer).await?;
        let why = if factor == RECOVERY { Reason::Recovery } else { Reason::BothRight };
        let opening =
            Opening { rules, account: &account, origin, first: pending.first, factor: Some(factor), remembered };
        Ok(Step::Open(self.open(opening).await?, why))
    }

    /// Whether codes of the account are looked at now.
    async fn takes_codes(&self, rules: &Rules, user: &str) -> Result<bool, Refusal> {
        let (standing, frozen) = self.counting(rules).codes(user).await?;
        Ok(!standing.paused && !frozen)
    }

    async fn same_account(&self, pending: &Pending, origin: &Origin) -> Result<Account, Refusal> {
        let account = self.accounts.find(pending.who.name.as_ref()).await?.ok_or(Reason::AccountChanged)?;
        if account.epoch != pending.epoch {
            return Err(Reason::AccountChanged.into());
        }
        standing(&account, origin, self.clock.now_ms())?;
        Ok(account)
    }

    async fn turned(self: &Arc<Self>, mut challenge: Challenge, origin: &Origin, wanted: &str) -> Outcome {
        let started = Instant::now();
        let rules = self.rules();
        if let Err(refusal) = challenge.stands_for(origin, self.clock.now_ms()) {
            challenge.pending.unanswered.take().into_iter().for_each(Unanswered::settle);
            return self.conclude(origin, &challenge.pending.who, started, Err(refusal), Veil::Open).await;
        }
        if !challenge.pending.decoy {
            match self.another(&rules, &challenge, origin, wanted).await {
                Ok(Some((begun, account, serving))) => challenge.turn_to(begun, &account, &serving),
                Ok(None) => {}
                Err(refusal) => {
                    challenge.pending.unanswered.take().into_iter().for_each(Unanswered::settle);
                    return self.conclude(origin, &challenge.pending.who, started, Err(refusal), Veil::Open).await;
                }
            }
        }
        let channel = Some(challenge.channel.as_str().to_owned());
        self.record(LoginResult::Challenged, origin, &challenge.pending.who.said, Reason::NextFactor, channel, None);
        Outcome::Challenge(challenge)
    }

    /// Begins another channel of the user; `None`: it cannot be.
    async fn another(
        &self,
        rules: &Rules,
        challenge: &Challenge,
        origin: &Origin,
        wanted: &str,
    ) -> Result<Option<(Begun, Account, Vec<Arc<dyn Factor>>)>, Refusal> {
        let account = self.same_account(&challenge.pending, origin).await?;
        let serving = self.serving(rules, &account).await;
        let Some(factor) = serving.iter().find(|factor| factor.channel().as_str() == wanted) else { return Ok(None) };
        let chosen = [Arc::clone(factor)];
        let need = Need {
            rules,
            who: &challenge.pending.who,
            account: &account,
            origin,
            challenge: Some(challenge.id.as_str()),
        };
        match self.begin(&need, &chosen).await {
            // Within the pause between messages the code that is live goes on; it came by another channel.
            Ok(begun) if begun.channel == wanted => Ok(Some((begun, account, serving))),
            Ok(_) => Ok(None),
            Err(refusal) if matches!(refusal.reason, Reason::SendLimited | Reason::FactorFailed) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

impl Challenge {
    fn turn_to(&mut self, begun: Begun, account: &Account, serving: &[Arc<dyn Factor>]) {
        let Some(channel) = ChannelName::new(&begun.channel) else { return };
        self.because = Because::NextFactor;
        self.prompt = channels::prompt_text(&begun, account);
        self.expects = begun.prompt.expects;
        self.alternatives = others(serving, &channel);
        self.channel = channel;
        self.pending.state = begun.prompt.state;
        self.pending.until_ms = begun.until_ms.unwrap_or(self.pending.until_ms);
    }
}

/// Refusals after which the same question may be put again. They look alike from outside, so that a pause does not show.
const fn leaves_a_try(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::WrongCode
            | Reason::NoLiveCode
            | Reason::CodeReplayed
            | Reason::CodesPaused
            | Reason::FactorFrozen
            | Reason::Unanswered
            | Reason::Veiled
    )
}

/// A decoy knows no reason but its own, so that every other must look like it; but for those that come before it is looked at.
const fn leaves_a_try_behind_a_veil(reason: Reason) -> bool {
    !matches!(reason, Reason::ChallengeForeign | Reason::ChallengeExpired | Reason::Banned | Reason::AuditFailed)
}

fn others(serving: &[Arc<dyn Factor>], chosen: &ChannelName) -> Vec<ChannelName> {
    serving.iter().map(|factor| factor.channel().clone()).filter(|name| name != chosen).collect()
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({:?})", self.who.said)
    }
}

impl Outcome {
    /// A denial like every other.
    pub(crate) const fn denied() -> Self {
        Self::Denied(crate::Denied { busy: false })
    }
}
