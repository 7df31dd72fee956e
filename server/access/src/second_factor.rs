//! The code: step 6 of one login.
//!
//! Codes of one user are checked one after the other, counted before and after, and marked used in the ledger before any
//! session exists. A wrong code, a code of somewhere else and a code in a pause end alike; only the audit trail knows.

use crate::{
    Factor, FactorKind, Verdict,
    candidate::Candidate,
    channels::{Need, called, place, seen_by, trimmed},
    gate::{Inner, Rules},
    reason::{Reason, Refusal},
};
use lockgate_model::{Origin, Secret};
use lockgate_users::{Account, recovery};
use std::{sync::Arc, time::Duration};

/// How long a login waits for other codes of the same user.
const TURN_PATIENCE: Duration = Duration::from_secs(15);
/// How often such a factor is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// What a recovery code is called in records and lists of sessions.
pub(crate) const RECOVERY: &str = "recovery";

/// What the code is an answer to.
pub(crate) enum Asked<'a> {
    /// Nothing: it came along with the password.
    Nothing,
    /// A challenge.
    Challenge {
        id: &'a str,
        channel: &'a str,
        state: &'a [u8],
        /// The person answers elsewhere; there is no code.
        elsewhere: bool,
    },
}

/// A code to be checked.
pub(crate) struct Answer<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) who: &'a Candidate,
    pub(crate) account: &'a Account,
    pub(crate) origin: &'a Origin,
    pub(crate) asked: Asked<'a>,
    pub(crate) code: &'a Secret<String>,
}

impl Inner {
    /// Checks a code and uses it up. `Ok`: the factor that it proved.
    pub(crate) async fn second_factor(&self, answer: &Answer<'_>) -> Result<String, Refusal> {
        let user = &answer.who.key;
        let single_shot = matches!(answer.asked, Asked::Nothing);
        let allowed = answer.rules.settings.max_attempts;
        let _turn = self.code_turns.take(user, TURN_PATIENCE).await.ok_or(Reason::CodesBusy)?;
        // Looked at in turn: of many lines of one connection at once only its share is checked.
        if single_shot && self.connections.is_spent(answer.origin.peer, user, allowed) {
            return Err(Reason::ConnectionSpent.into());
        }
        let counting = self.counting(answer.rules);
        let (standing, frozen) = counting.codes(user).await?;
        if standing.paused {
            return Err(Reason::CodesPaused.into());
        }
        let weighed = match self.recovery_code(answer).await? {
            Some(factor) => Ok(factor),
            None if frozen => Err(Reason::FactorFrozen.into()),
            None if matches!(answer.asked, Asked::Challenge { elsewhere: true, .. }) => self.weigh(answer).await,
            None => tokio::time::timeout(answer.rules.settings.patience.channels, self.weigh(answer))
                .await
                .unwrap_or_else(|_| Err(Reason::FactorFailed.into())),
        };
        match &weighed {
            Ok(_) => counting.right_code(user, standing).await?,
            // A code that was right once is no guess; it is refused and not counted.
            Err(refusal) if refusal.reason.is_guess() => {
                counting.wrong_code(user).await?;
                if single_shot {
                    self.connections.missed(answer.origin.peer, user);
                }
            }
            Err(_) => {}
        }
        weighed
    }

    async fn recovery_code(&self, answer: &Answer<'_>) -> Result<Option<String>, Refusal> {
        if answer.account.recovery_codes_left == 0 {
            return Ok(None);
        }
        let Some(digest) = recovery::digest(&self.key, &answer.account.name, answer.code.expose()) else {
            return Ok(None);
        };
        let spent = self.accounts.spend_recovery_code(&answer.account.name, &digest).await?;
        Ok(spent.then(|| RECOVERY.to_owned()))
    }

    async fn weigh(&self, answer: &Answer<'_>) -> Result<String, Refusal> {
        let serving = self.serving(answer.rules, answer.account).await;
        match answer.asked {
            Asked::Nothing => self.weigh_first_that_works(answer, &serving).await,
            Asked::Challenge { channel, state, elsewhere, .. } => {
                let factor = serving
                    .iter()
                    .find(|factor| factor.channel().as_str() == channel)
                    .ok_or_else(|| Refusal::on(Reason::NoChannel, channel))?;
                match factor.kind() {
                    FactorKind::Delivers => match self.weigh_carried(answer, channel).await {
                        // Behind a veil the code is sent after the question; where the channel failed, the next one serves.
                        Err(none) if none.reason == Reason::NoLiveCode => {
                            self.weigh_first_that_works(answer, &serving).await
                        }
                        weighed => weighed,
                    },
                    FactorKind::Verifies => self.weigh_verified(answer, &**factor, state, elsewhere).await,
                }
            }
        }
    }

    /// A code that came with the password belongs to the first channel that works, as a question would have.
    async fn weigh_first_that_works(
        &self,
        answer: &Answer<'_>,
        serving: &[Arc<dyn Factor>],
    ) -> Result<String, Refusal> {
        let mut refusal = Refusal::from(Reason::NoChannel);
        let Answer { rules, who, account, origin, .. } = *answer;
        let (need, mut sent) = (Need { rules, who, account, origin, challenge: None }, Vec::new());
        for factor in serving {
            let channel = factor.channel().as_str();
            let weighed = match factor.kind() {
                // The code may have gone out by a later channel, because this one failed.
                FactorKind::Delivers => self.weigh_carried(answer, channel).await,
                FactorKind::Verifies => match self.begin_verifying(&need, &**factor, &mut sent).await {
                    Ok(begun) => self.weigh_verified(answer, &**factor, &begun.prompt.state, false).await,
                    Err(failed) => Err(failed),
                },
            };
            match weighed {
                Err(failed) if matches!(failed.reason, Reason::FactorFailed | Reason::SendLimited) => refusal = failed,
                // This channel has sent nothing that is live: it may have failed, and the code be one of the next channel's.
                // Where a channel failed just now the code was meant for it, and is no guess.
                Err(none) if none.reason == Reason::NoLiveCode => {
                    if refusal.reason == Reason::NoChannel {
                        refusal = none;
                    }
                }
                weighed => return weighed,
            }
        }
        Err(refusal)
    }

    /// A code that the gate made: it must be live, for this user, from here, and for this challenge.
    async fn weigh_carried(&self, answer: &Answer<'_>, channel: &str) -> Result<String, Refusal> {
        let (user, codes) = (&answer.who.key, self.codes());
        let here = codes.live(user).await?.filter(|live| self.is_for(live, answer.who, answer.account, answer.origin));
        let asked_for = |challenge: &Option<String>| match answer.asked {
            // The password was proven again together with the code, so it may be that of a challenge which was given up.
            Asked::Nothing => true,
            Asked::Challenge { id, .. } => challenge.as_deref() == Some(id),
        };
        let Some(live) = here.filter(|live| asked_for(&live.challenge)) else {
            return Err(Refusal::on(Reason::NoLiveCode, channel));
        };
        if !codes.matches(user, &live, answer.code.expose()) {
            codes.missed(user, &live, answer.rules.settings.max_attempts).await?;
            return Err(Refusal::on(Reason::WrongCode, &live.channel));
        }
        if codes.spend(user, &live).await? {
            Ok(live.channel)
        } else {
            Err(Refusal::on(Reason::CodeReplayed, &live.channel))
        }
    }

    async fn weigh_verified(
        &self,
        answer: &Answer<'_>,
        factor: &dyn Factor,
        state: &[u8],
        elsewhere: bool,
    ) -> Result<String, Refusal> {
        let channel = factor.channel().as_str();
        let user = seen_by(factor, answer.account);
        let origin = place(answer.origin);
        let code = trimmed(answer.code);
        let patience = answer.rules.settings.patience;
        let patience = if elsewhere { patience.person } else { patience.call };
        let asking = async {
            loop {
                let verdict = called(factor, patience, factor.verify(&user, &origin, state, &code)).await;
                if !elsewhere || !matches!(verdict, Ok(Verdict::Later)) {
                    return verdict;
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        };
        let verdict = tokio::time::timeout(patience, asking).await.unwrap_or(Ok(Verdict::Later));
        match verdict {
            Ok(Verdict::Right { used }) if used.is_empty() => Err(Refusal::on(Reason::FactorFailed, channel)),
            Ok(Verdict::Right { used }) if self.burn(&user, channel, &used).await? => Ok(channel.to_owned()),
            Ok(Verdict::Right { .. }) => Err(Refusal::on(Reason::CodeReplayed, channel)),
            Ok(Verdict::Wrong) => Err(Refusal::on(Reason::WrongCode, channel)),
            Ok(Verdict::Later) => Err(Refusal::on(Reason::Unanswered, channel)),
            Err(_) => Err(Refusal::on(Reason::FactorFailed, channel)),
        }
    }
}
