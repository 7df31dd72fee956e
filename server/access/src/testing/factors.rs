//! Factors of tests: one that verifies codes of the time, one that carries codes; each in any mood.

use crate::{
    ChannelName, Enrolment, Expects, Factor, FactorError, FactorKind, FactorOrigin, FactorUser, Prompt, Verdict,
    ledger::Clock,
};
use lockgate_model::Secret;
use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::sync::watch;

/// How a factor behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Failing,
    Hanging,
    Panicking,
    /// Says "right" and names nothing as used.
    Careless,
}

async fn suffer(mood: Mood, channel: &ChannelName) -> Result<(), FactorError> {
    match mood {
        Mood::Well | Mood::Careless => Ok(()),
        Mood::Failing => Err(FactorError::Failed { channel: channel.clone(), reason: "told to".into() }),
        Mood::Hanging => std::future::pending().await,
        Mood::Panicking => panic!("told to"),
    }
}

/// Verifies codes that are the number of the present half minute, or of the one before.
pub(crate) struct Authenticator {
    channel: ChannelName,
    clock: Clock,
    pub(crate) mood: Mutex<Mood>,
    /// Whether it calls people elsewhere, who always say yes.
    pub(crate) calls: AtomicBool,
    pub(crate) called: AtomicUsize,
}

impl Authenticator {
    pub(crate) fn new(channel: &str, clock: Clock) -> Self {
        let channel = ChannelName::new(channel).unwrap();
        let mood = Mutex::new(Mood::Well);
        Self { channel, clock, mood, calls: AtomicBool::new(false), called: AtomicUsize::new(0) }
    }

    /// The code of the present step less `ago`.
    pub(crate) fn code(&self, ago: u64) -> String {
        format!("{:06}", (self.step() - ago) % 1_000_000)
    }

    fn step(&self) -> u64 {
        self.clock.now_ms() / 30_000
    }
}

#[async_trait::async_trait]
impl Factor for Authenticator {
    fn channel(&self) -> &ChannelName {
        &self.channel
    }
    fn kind(&self) -> FactorKind {
        FactorKind::Verifies
    }
    fn enrols(&self) -> bool {
        true
    }
    async fn serves(&self, user: &FactorUser) -> Result<bool, FactorError> {
        let mood = *self.mood.lock().unwrap();
        suffer(mood, &self.channel).await?;
        Ok(user.secret.is_some())
    }
    async fn enroll(&self, _: &FactorUser) -> Result<Enrolment, FactorError> {
        unreachable!("the gate enrols nobody")
    }
    async fn begin(
        &self,
        _: &FactorUser,
        _: &FactorOrigin,
        code: Option<&Secret<String>>,
    ) -> Result<Prompt, FactorError> {
        assert!(code.is_none(), "a factor that verifies gets no code");
        let mood = *self.mood.lock().unwrap();
        suffer(mood, &self.channel).await?;
        let calls = self.calls.load(Ordering::SeqCst);
        self.called.fetch_add(usize::from(calls), Ordering::SeqCst);
        let expects = if calls { Expects::Nothing } else { Expects::Code };
        Ok(Prompt { text: None, expects, state: b"state".to_vec() })
    }
    async fn verify(
        &self,
        user: &FactorUser,
        _: &FactorOrigin,
        state: &[u8],
        answer: &Secret<String>,
    ) -> Result<Verdict, FactorError> {
        assert!(user.secret.is_some() && state == b"state");
        let mood = *self.mood.lock().unwrap();
        suffer(mood, &self.channel).await?;
        if mood == Mood::Careless {
            return Ok(Verdict::Right { used: Vec::new() });
        }
        let right = (0..2).find(|ago| self.code(*ago) == *answer.expose()).map(|ago| self.step() - ago);
        Ok(right.map_or(Verdict::Wrong, |step| Verdict::Right {
            used: (0..3).map(|ago| format!("step:{}", step - ago)).collect(),
        }))
    }
}

/// Carries codes nowhere and shows them to the test.
pub(crate) struct Messenger {
    channel: ChannelName,
    pub(crate) mood: Mutex<Mood>,
    sent: watch::Sender<Vec<(String, String)>>,
}

impl Messenger {
    pub(crate) fn new(channel: &str) -> Self {
        Self {
            channel: ChannelName::new(channel).unwrap(),
            mood: Mutex::new(Mood::Well),
            sent: watch::Sender::new(Vec::new()),
        }
    }

    /// `(user, code)` of every message so far.
    pub(crate) fn sent(&self) -> Vec<(String, String)> {
        self.sent.borrow().clone()
    }

    /// The code of the `n`th message (from 1), once it is there.
    pub(crate) async fn code(&self, n: usize) -> String {
        let mut sent = self.sent.subscribe();
        let messages = tokio::time::timeout(std::time::Duration::from_secs(10), sent.wait_for(|sent| sent.len() >= n));
        messages.await.expect("a message within ten seconds").unwrap()[n - 1].1.clone()
    }
}

#[async_trait::async_trait]
impl Factor for Messenger {
    fn channel(&self) -> &ChannelName {
        &self.channel
    }
    fn kind(&self) -> FactorKind {
        FactorKind::Delivers
    }
    fn enrols(&self) -> bool {
        false
    }
    async fn serves(&self, _: &FactorUser) -> Result<bool, FactorError> {
        Ok(true)
    }
    async fn enroll(&self, _: &FactorUser) -> Result<Enrolment, FactorError> {
        unreachable!("nobody enrols with a messenger")
    }
    async fn begin(
        &self,
        user: &FactorUser,
        _: &FactorOrigin,
        code: Option<&Secret<String>>,
    ) -> Result<Prompt, FactorError> {
        let code = code.expect("a factor that delivers gets a code").expose().clone();
        let mood = *self.mood.lock().unwrap();
        suffer(mood, &self.channel).await?;
        self.sent.send_modify(|sent| sent.push((user.name.as_str().to_owned(), code)));
        Ok(Prompt { text: None, expects: Expects::Code, state: Vec::new() })
    }
    async fn verify(
        &self,
        _: &FactorUser,
        _: &FactorOrigin,
        _: &[u8],
        _: &Secret<String>,
    ) -> Result<Verdict, FactorError> {
        unreachable!("the gate checks carried codes itself")
    }
}
