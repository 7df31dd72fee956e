//! What the gate looks after by itself, every second: revocation, changed preferences, bans, and what has passed.
//!
//! Users, prefs.xml and bans change in other processes too, so nobody tells the gate; it looks. A look that fails ends no
//! session, but while looks fail nothing that was granted earlier is handed out again.

use crate::{
    Ledger as _, Session, SessionEnd, bans,
    first_factor::First,
    gate::{Inner, Rules},
    locked,
    policy::{self, PolicyInput},
};
use lockgate_events::Event;
use lockgate_model::UserName;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::MissedTickBehavior;

const EVERY: Duration = Duration::from_secs(1);
/// Older than this a look is worth nothing (N12: 5 s).
const FRESH: Duration = Duration::from_secs(5);
/// How long the directory may take to say that an account was given a later end.
const EXPIRY_PATIENCE: Duration = Duration::from_millis(500);
/// How many looks pass between two sweeps of the ledger.
const SWEEP_EVERY: u64 = 60;
/// And between two counts of the users with a second factor.
const COUNT_EVERY: u64 = 5;

/// Starts the watch. It ends with the gate.
pub(crate) fn start(gate: &Arc<Inner>) {
    let gate = Arc::downgrade(gate);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0_u64;
        let mut bans = Vec::new();
        loop {
            ticks.tick().await;
            let Some(gate) = Weak::upgrade(&gate) else { return };
            gate.look(count, &mut bans).await;
            count = count.wrapping_add(1);
        }
    });
}

impl Inner {
    async fn look(self: &Arc<Self>, count: u64, known_bans: &mut Vec<bans::Ban>) {
        self.end_expired().await;
        self.revoke_changed().await;
        self.judge_again().await;
        self.record_bans().await;
        self.copy_bans(known_bans).await;
        let lives = self.lives();
        self.grants.retain(lives, |_, _| true);
        self.cookies.sweep(self.web_lives());
        self.parked.sweep(lives.now_ms);
        self.tell_rest(self.turned_away.over(lives.now_ms));
        if count.is_multiple_of(COUNT_EVERY)
            && let Ok(users) = self.accounts.second_factor_users().await
        {
            self.second_factor_users.store(users, Ordering::Relaxed);
        }
        if count % SWEEP_EVERY == SWEEP_EVERY - 1
            && let Err(error) = self.ledger.sweep().await
        {
            tracing::error!(%error, "the ledger could not be swept");
        }
    }

    /// Ends the sessions of accounts that have reached their end. A later end lengthens what was granted before, so it is asked
    /// for; where the directory does not say so at once, the end that is known counts.
    async fn end_expired(&self) {
        let now_ms = self.clock.now_ms();
        let until = |session: &Session| session.inner.until_ms.load(Ordering::Relaxed);
        for session in self.sessions.all().into_iter().filter(|session| until(session) <= now_ms) {
            let asked = tokio::time::timeout(EXPIRY_PATIENCE, self.accounts.find(Some(session.user()))).await;
            match asked {
                Ok(Ok(Some(account))) if account.expires.is_none_or(|end| end > now_ms) => {
                    session.inner.until_ms.store(account.expires.unwrap_or(u64::MAX), Ordering::Relaxed);
                }
                _ => session.end(SessionEnd::Revoked),
            }
        }
    }

    /// Ends what was granted to users that are gone or changed.
    async fn revoke_changed(self: &Arc<Self>) {
        let began = Instant::now();
        let sessions = self.sessions.all();
        let mut names: BTreeSet<UserName> = sessions.iter().map(|session| session.user().clone()).collect();
        names.extend(self.grants.users().into_iter().map(|(user, _)| user));
        let names: Vec<UserName> = names.into_iter().collect();
        let epochs = if names.is_empty() { Ok(BTreeMap::new()) } else { self.accounts.epochs(&names).await };
        let epochs = match epochs {
            Ok(epochs) => epochs,
            Err(error) => {
                tracing::error!(%error, "whether users changed could not be found out");
                return;
            }
        };
        for session in sessions.iter().filter(|session| epochs.get(session.user()) != Some(&session.inner.epoch)) {
            session.end(SessionEnd::Revoked);
        }
        // A grant made after the question was put is not judged by an answer that cannot know its user.
        self.grants
            .retain(self.lives(), |user, epoch| names.binary_search(user).is_err() || epochs.get(user) == Some(&epoch));
        *locked(&self.looked) = began;
    }

    /// Ends what the present preferences would not give any more.
    async fn judge_again(self: &Arc<Self>) {
        let rules = self.rules();
        let old = self
            .sessions
            .all()
            .into_iter()
            .filter(|session| session.inner.judged_by.load(Ordering::Relaxed) < rules.serial);
        for session in old {
            match self.still_stands(&rules, &session).await {
                Some(true) => session.inner.judged_by.store(rules.serial, Ordering::Relaxed),
                Some(false) => session.end(SessionEnd::Revoked),
                // The directory failed; the next look asks again.
                None => {}
            }
        }
    }

    async fn still_stands(&self, rules: &Rules, session: &Session) -> Option<bool> {
        let inner = &session.inner;
        if inner.first == First::AppPassword {
            return Some(rules.settings.app_passwords);
        }
        if inner.factor.is_some() {
            return Some(true);
        }
        let account = self.accounts.find(Some(&inner.user)).await.ok()?;
        let due = |account| {
            policy::due(&PolicyInput::of(&rules.settings, account, inner.origin.protocol, inner.origin.address())).due
        };
        Some(account.as_ref().is_some_and(|account| !due(account)))
    }

    /// Takes over what listeners banned for connecting too often.
    async fn record_bans(&self) {
        const WHY: &str = "too_many_connections";
        for (address, until_ms) in self.addresses.take_unrecorded() {
            let life = Duration::from_millis(until_ms.saturating_sub(self.clock.now_ms()));
            if let Err(error) = bans::add(&*self.ledger, address, life, WHY).await {
                tracing::error!(%address, %error, "a ban could not be recorded");
            }
            self.events.announce(&Event::Ban { address, until_ms: Some(until_ms), reason: WHY.to_owned() });
        }
    }

    /// Copies the ledger's bans into the list that listeners ask.
    async fn copy_bans(&self, known: &mut Vec<bans::Ban>) {
        match bans::list(&*self.ledger).await {
            Ok(bans) if bans == *known && bans.is_empty() => {}
            Ok(bans) => {
                // Bans of this process stand in the list already; telling the listeners anew each second would wake them all.
                if bans != *known || bans.iter().any(|ban| !self.addresses.is_banned(ban.address)) {
                    self.addresses.replace(bans.iter().map(|ban| (ban.address, ban.until_ms)).collect());
                }
                *known = bans;
            }
            Err(error) => tracing::error!(%error, "the bans could not be read"),
        }
    }

    /// Whether revocation was looked at just now.
    pub(crate) fn watch_is_fresh(&self) -> bool {
        locked(&self.looked).elapsed() < FRESH
    }
}
