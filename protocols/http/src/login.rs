//! The web login: password, question, answer, cookie; and its end.
//!
//! The question is parked with the gate between two requests and comes back only for the same client. Nothing of a half-finished
//! login is kept here, and its id opens nothing but its own answer.

use crate::{
    body::{Body, empty},
    caller::set_cookie,
    json,
    refusal::Refusal,
    visit::Ask,
};
use http::{Response, StatusCode, header};
use lockgate_access::{Because, Challenge, ChannelName, Evidence, Expects, Outcome, Session, SessionEnd};
use lockgate_model::{Secret, VPath};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Login {
    username: String,
    #[serde(deserialize_with = "secret")]
    password: Secret<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "secret")]
    code: Secret<String>,
}

#[derive(Deserialize)]
struct Through {
    channel: String,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

impl Ask {
    /// `POST /api/v1/login`.
    pub(crate) async fn log_in(self, body: Body) -> Result<Response<Body>, Refusal> {
        let login: Login = json::read(&self.parts.headers, body).await?;
        let attempt = self.visit.front.gate.knock(self.origin.clone(), &login.username);
        let outcome = attempt.submit(Evidence::Password(login.password)).await;
        self.outcome(outcome).await
    }

    /// `POST /api/v1/login/{id}`.
    pub(crate) async fn answer_challenge(self, id: &str, body: Body) -> Result<Response<Body>, Refusal> {
        let answer: Answer = json::read(&self.parts.headers, body).await?;
        let Some(challenge) = self.visit.front.gate.unpark(&self.origin, id).await else {
            return Err(Refusal::denied());
        };
        let outcome = challenge.answer(&self.origin, answer.code).await;
        self.outcome(outcome).await
    }

    /// `POST /api/v1/login/{id}/channel`.
    pub(crate) async fn switch_channel(self, id: &str, body: Body) -> Result<Response<Body>, Refusal> {
        let wish: Through = json::read(&self.parts.headers, body).await?;
        let Some(challenge) = self.visit.front.gate.unpark(&self.origin, id).await else {
            return Err(Refusal::denied());
        };
        match challenge.through(&self.origin, &wish.channel).await {
            // However it came to be asked again: a question put through a channel is news, not a wrong answer.
            Outcome::Challenge(challenge) => Ok(asked(challenge).await),
            other => self.outcome(other).await,
        }
    }

    /// `DELETE /api/v1/session`.
    pub(crate) async fn log_out(self) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        caller.session.end(SessionEnd::Closed);
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().extend(set_cookie(self.visit.secure, None).map(|value| (header::SET_COOKIE, value)));
        Ok(response)
    }

    /// `GET /api/v1/me`.
    pub(crate) async fn me(self) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        let space = caller.session.vfs().space(&VPath::root()).await.ok();
        let me = json!({
            "name": caller.session.user().as_str(),
            "admin": caller.session.is_admin(),
            "csrf": caller.csrf.as_ref().map(Secret::expose),
            "space": space.map(|space| json!({ "total": space.total, "free": space.free, "used": space.used })),
        });
        Ok(json::reply(StatusCode::OK, &me))
    }

    async fn outcome(&self, outcome: Outcome) -> Result<Response<Body>, Refusal> {
        match outcome {
            Outcome::Granted(session) => Ok(self.granted(session).await),
            Outcome::Challenge(challenge) if challenge.because() == Because::TryAgain => {
                challenge.park().await;
                Err(Refusal::denied())
            }
            Outcome::Challenge(challenge) => Ok(asked(challenge).await),
            Outcome::Denied(denied) if denied.busy => Err(Refusal::busy()),
            Outcome::Denied(_) => Err(Refusal::denied()),
        }
    }

    async fn granted(&self, session: Session) -> Response<Body> {
        let gate = &self.visit.front.gate;
        self.visit.stranger.admit();
        // Whoever logs in anew in the same browser is done with the login before.
        if let Some(old) = self.cookie()
            && let Some(before) = gate.by_cookie(&self.origin, old.expose()).await
            && before.session.id() != session.id()
        {
            before.session.end(SessionEnd::Closed);
        }
        let (token, web) = gate.issue_cookie(&session).await;
        let mut response = json::reply(
            StatusCode::OK,
            &json!({ "state": "granted", "user": user(&session), "csrf": web.csrf.expose() }),
        );
        response
            .headers_mut()
            .extend(set_cookie(self.visit.secure, Some(&token)).map(|value| (header::SET_COOKIE, value)));
        response
    }
}

/// Puts the question, and parks it for the answer.
async fn asked(challenge: Challenge) -> Response<Body> {
    let expects = match challenge.expects() {
        Expects::Code => "code",
        Expects::Nothing => "nothing",
    };
    let alternatives: Vec<&str> = challenge.alternatives().iter().map(ChannelName::as_str).collect();
    let question = json!({
        "id": challenge.id().as_str(),
        "channel": challenge.channel().as_str(),
        "prompt": challenge.prompt(),
        "expects": expects,
        "expires_in_s": challenge.expires_in().as_secs(),
        "alternatives": alternatives,
    });
    challenge.park().await;
    json::reply(StatusCode::OK, &json!({ "state": "challenge", "challenge": question }))
}

fn user(session: &Session) -> serde_json::Value {
    json!({ "name": session.user().as_str(), "admin": session.is_admin() })
}
