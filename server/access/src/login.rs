//! One login, from the knock to the answer, in the order in which it happens (login.md, "One login, in order").
//!
//! Read from the top: [`Inner::log_in`] frames a try (a place among those under way, an end, the record, the time of the
//! answer); [`Inner::walk`] is the road itself. Every error on the road is a refusal; there is no other way to leave it than
//! with a session, a question or a refusal.

use crate::{
    Challenge, Evidence, Outcome, Session, SessionEnd,
    attempt::Denied,
    candidate::Candidate,
    challenge::{Question, Veil},
    channels::{Need, could_serve},
    crowd::Full,
    first_factor::{First, Proof, Showing},
    gate::{Inner, Rules},
    grants::Half,
    opening::{Opening, splits_sessions},
    policy::{self, PolicyInput},
    reason::{Reason, Refusal},
    second_factor::{Answer, Asked, RECOVERY},
    standing::standing,
};
use lockgate_events::{Event, LoginResult};
use lockgate_model::{Conversation, Origin, Protocol};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

/// A login that takes longer than this and its channels is denied. Waiting for a person (push) is no part of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Where work took longer than the floor, answers come in steps of this.
const STEP: Duration = Duration::from_millis(100);

/// Where the road led.
pub(crate) enum Step {
    /// To a session, and why.
    Open(Session, Reason),
    /// To a question.
    Ask(Challenge),
    /// To a question that looks like one, and why no answer to it will be right.
    Veil(Challenge, Reason),
}

impl Inner {
    /// One try. Runs to its end in a task of its own: a stranger who hangs up can neither suppress the record nor get the
    /// count back.
    pub(crate) async fn log_in(
        self: Arc<Self>,
        origin: Origin,
        name: String,
        evidence: Evidence,
        veil: Veil,
    ) -> Outcome {
        let who = Candidate::new(&self.key, &name);
        let gate = Arc::clone(&self);
        let (seen, said) = (origin.clone(), who.said.clone());
        let road = async move {
            let rules = gate.rules();
            // Step 1, the second half: how much is under way. It comes first, so that nobody is looked at for nothing.
            let _place = match gate.crowd.enter(&origin.address_key(), rules.settings.logins_per_address) {
                Ok(place) => place,
                Err(Full::OfAddress) => return gate.turned_away(&origin, &who, Reason::Crowded).await,
                Err(Full::InAll) => return gate.turned_away(&origin, &who, Reason::CrowdedInAll).await,
            };
            let started = Instant::now();
            let patience = PATIENCE + rules.settings.patience.channels;
            let walked = tokio::time::timeout(patience, gate.walk(&rules, &who, &origin, &evidence, veil)).await;
            let walked = walked.unwrap_or_else(|_| Err(Reason::TooSlow.into()));
            gate.conclude(&origin, &who, started, walked, veil).await
        };
        self.detached(seen, said, road).await
    }

    /// Steps 1 to 6.
    async fn walk(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        who: &Candidate,
        origin: &Origin,
        evidence: &Evidence,
        veil: Veil,
    ) -> Result<Step, Refusal> {
        // 1. A banned address that still gets an answer gets the answer that everybody gets.
        if self.addresses.is_banned(origin.address()) {
            return Err(Reason::Banned.into());
        }
        // Nobody is let in, and nobody learns anything, while no record of it can be kept.
        if !self.events.healthy() {
            return Err(Reason::AuditFailed.into());
        }
        // 2. The name was normalised when it became a candidate. One that is none walks on with no account.
        let account = self.accounts.find(who.name.as_ref()).await?;
        // 3. The first factor.
        let shown = self.first_factor(Showing { rules, who, origin, account }, evidence).await;
        let Proof { account, first, code } = match shown {
            Ok(proof) => proof,
            Err(refusal) => return self.veiled(rules, who, origin, veil, refusal),
        };
        // 4. The account.
        if let Err(reason) = standing(&account, origin, self.clock.now_ms()) {
            return self.veiled(rules, who, origin, veil, reason.into());
        }
        // 5. The policy. An app password exists only because its owner passed a second factor when making it.
        let decision = policy::due(&PolicyInput::of(&rules.settings, &account, origin.protocol, origin.address()));
        let shown = self.remembered_as(rules, origin, &account.name, evidence);
        // What a client shows with its code is whole; what it shows before it is asked for one is half.
        let whole = !decision.due
            || code.is_some()
            || first == First::AppPassword
            || origin.conversation == Conversation::SingleShot;
        let remembered = shown.filter(|_| whole || origin.protocol == Protocol::Sftp).map(Half::whole);
        let open =
            |factor: Option<String>, first| Opening { rules, account: &account, origin, first, factor, remembered };
        if first == First::AppPassword {
            let session = self.open(open(Some("app_password".into()), first)).await?;
            return Ok(Step::Open(session, Reason::AppPassword));
        }
        if !decision.due {
            return Ok(Step::Open(self.open(open(None, first)).await?, Reason::NotDue));
        }
        // 6. Due: the code that came along is checked, or one is asked for.
        if let Some(code) = code {
            let answer = Answer { rules, who, account: &account, origin, asked: Asked::Nothing, code: &code };
            let factor = match self.second_factor(&answer).await {
                Ok(factor) => factor,
                Err(refusal) => return self.veiled(rules, who, origin, veil, refusal),
            };
            let why = if factor == RECOVERY { Reason::Recovery } else { Reason::BothRight };
            return Ok(Step::Open(self.open(open(Some(factor), first)).await?, why));
        }
        match origin.conversation {
            Conversation::SingleShot if !could_serve(rules, &account) => Err(Reason::NoChannel.into()),
            Conversation::SingleShot => {
                self.send_behind(&Need { rules, who, account: &account, origin, challenge: None });
                Err(Reason::CodeMissing.into())
            }
            Conversation::Interactive => {
                let half = shown.filter(|_| remembered.is_none());
                let question = Question { rules, who, account: &account, origin, first, remembered, half, veil };
                match self.ask(question).await {
                    Ok(challenge) => Ok(Step::Ask(challenge)),
                    Err(refusal) => self.veiled(rules, who, origin, veil, refusal),
                }
            }
        }
    }

    /// A refusal, or behind a veil a question that cannot be answered.
    fn veiled(
        self: &Arc<Self>,
        rules: &Rules,
        who: &Candidate,
        origin: &Origin,
        veil: Veil,
        refusal: Refusal,
    ) -> Result<Step, Refusal> {
        let asks = veil == Veil::Drawn && origin.conversation == Conversation::Interactive && !refusal.is_busy();
        if asks && self.may_ask(rules, origin.protocol) {
            Ok(Step::Veil(self.decoy(rules, who, origin)?, refusal.reason))
        } else {
            Err(refusal)
        }
    }

    /// Under which fingerprint a login with this evidence may be repeated; `None`: it may not.
    ///
    /// A client that was asked for its code did not show it together with the password. Its login is remembered by both where
    /// each connection is a login (FTP); only where an operator put `sftp` on the list is the first factor alone remembered,
    /// for clients that open a connection for each transfer.
    fn remembered_as(
        &self,
        rules: &Rules,
        origin: &Origin,
        user: &lockgate_model::UserName,
        evidence: &Evidence,
    ) -> Option<Half> {
        let repeats = origin.conversation == Conversation::SingleShot || splits_sessions(origin);
        let listed = rules.settings.grant_protocols.contains(origin.protocol);
        (repeats && listed).then(|| Half(self.fingerprint(origin, user, evidence)))
    }

    /// Steps 7 to 9: the count of the address, the record, and the time of the answer.
    pub(crate) async fn conclude(
        &self,
        origin: &Origin,
        who: &Candidate,
        started: Instant,
        walked: Result<Step, Refusal>,
        veil: Veil,
    ) -> Outcome {
        if let Err(refusal) = &walked {
            if refusal.is_busy() {
                return self.turned_away(origin, who, refusal.reason).await;
            }
            self.count_denial(origin, refusal.reason).await;
        }
        let (result, reason, channel, session) = match &walked {
            Ok(Step::Open(session, reason)) => {
                (LoginResult::Granted, *reason, session.inner.factor.clone(), Some(session.id().as_str().to_owned()))
            }
            Ok(Step::Ask(challenge)) => {
                (LoginResult::Challenged, Reason::NextFactor, Some(challenge.channel().as_str().to_owned()), None)
            }
            Ok(Step::Veil(_, reason)) => (LoginResult::Challenged, *reason, None, None),
            Err(refusal) => (LoginResult::Denied, refusal.reason, refusal.channel.clone(), None),
        };
        self.record(result, origin, &who.said, reason, channel, session);
        match walked {
            Ok(Step::Open(session, _)) if self.events.healthy() => Outcome::Granted(session),
            Ok(Step::Open(session, _)) => {
                session.end(SessionEnd::Revoked);
                self.grants.forget_of(&session);
                hold_back(started, who.floor).await;
                Outcome::denied()
            }
            Ok(Step::Ask(challenge)) => {
                if veil == Veil::Drawn {
                    hold_back(started, who.floor).await;
                }
                Outcome::Challenge(challenge)
            }
            Ok(Step::Veil(challenge, _)) => {
                hold_back(started, who.floor).await;
                Outcome::Challenge(challenge)
            }
            Err(_) => {
                hold_back(started, who.floor).await;
                Outcome::denied()
            }
        }
    }

    async fn turned_away(&self, origin: &Origin, who: &Candidate, reason: Reason) -> Outcome {
        self.count_denial(origin, reason).await;
        let (alone, rest) = self.turned_away.note(origin, self.clock.now_ms());
        self.tell_rest(rest);
        if alone {
            self.record(LoginResult::Denied, origin, &who.said, reason, None, None);
        }
        Outcome::Denied(Denied { busy: true })
    }

    /// Counts a denial against its address, once, whatever it was for.
    pub(crate) async fn count_denial(&self, origin: &Origin, reason: Reason) {
        if !reason.counts() {
            return;
        }
        let rules = self.rules();
        let counted = self.counting(&rules).address_failed(origin, &self.addresses, &self.events).await;
        if let Err(error) = counted {
            tracing::error!(%error, "a denial was not counted against its address");
        }
    }

    pub(crate) fn record(
        &self,
        result: LoginResult,
        origin: &Origin,
        said: &str,
        reason: Reason,
        channel: Option<String>,
        session: Option<String>,
    ) {
        self.events.announce(&Event::Login {
            result,
            origin: origin.clone(),
            user: said.to_owned(),
            reason: reason.word(),
            channel,
            session,
        });
    }

    /// Runs a step to its end even where whoever asked does not wait for it.
    pub(crate) async fn detached(
        &self,
        origin: Origin,
        said: String,
        step: impl Future<Output = Outcome> + Send + 'static,
    ) -> Outcome {
        match tokio::spawn(step).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "a login is denied: the gate itself failed");
                self.record(LoginResult::Denied, &origin, &said, Reason::InternalFault, None, None);
                Outcome::denied()
            }
        }
    }
}

/// Waits until a denial may be told: the floor of the name, or beyond it the next full step, so that work which took long
/// does not show by how much.
pub(crate) async fn hold_back(started: Instant, floor: Duration) {
    hold_to(started, floor, STEP).await;
}

/// Waits until `first` after `started`, or beyond it the next full `step`.
pub(crate) async fn hold_to(started: Instant, first: Duration, step: Duration) {
    let mut due = first;
    let spent = started.elapsed();
    while due < spent {
        due += step;
    }
    tokio::time::sleep_until((started + due).into()).await;
}
