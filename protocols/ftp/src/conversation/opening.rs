//! Commands that anybody may give: who one is, TLS, and what the server can do.

use super::{Act, MOST_WRONG_TRIES, Stage, Talk, Visitor};
use crate::{
    command::{Digest, HELP, Level, Open, Shown},
    ends::Farewell,
    porter::Verdict,
    reply::{Reply, say},
};
use lockgate_model::Secret;

impl Talk {
    /// Obeys one.
    pub(super) async fn open(&mut self, command: Open) -> Act {
        let reply = match command {
            Open::User(_) | Open::Pass(_) | Open::Acct(_) if self.must_be_secure() => say::TLS_FIRST,
            Open::User(name) => self.user(name),
            Open::Pass(password) => return self.pass(password).await,
            Open::Acct(code) => return self.acct(code).await,
            Open::Auth { private } => return self.auth(private),
            Open::Pbsz if !self.control.is_secure() => say::PBSZ_FIRST,
            Open::Pbsz => {
                self.sized = true;
                say::BUFFER_SIZE
            }
            Open::Prot(level) => self.prot(level),
            Open::Ccc => say::CCC_REFUSED,
            Open::Feat => self.feat(),
            Open::Help => Reply::listing(214, "Commands:", HELP.iter().map(|line| (*line).to_owned()).collect()),
            Open::Syst => say::SYSTEM,
            Open::Noop => say::NOTHING_TO_DO,
            Open::Quit => return Act::End(Farewell::Said(say::GOODBYE)),
            // RFC 4217 section 11 would end TLS with it; a connection is cheaper than going back to clear text.
            Open::Rein if self.control.is_secure() => say::REIN_UNDER_TLS,
            Open::Rein => {
                self.stage = Stage::Visitor(Visitor::default());
                return Act::Leave;
            }
            Open::Host => match &self.stage {
                Stage::Visitor(Visitor { name: None, .. }) => say::HOST_ACCEPTED,
                Stage::Visitor(_) | Stage::Guest(_) => say::HOST_TOO_LATE,
            },
            Open::Clnt => say::CLIENT_NOTED,
            Open::Lang => say::LANGUAGE,
            Open::OptsUtf8 => say::UTF8_ALWAYS,
        };
        Act::Say(reply)
    }

    /// Any name is asked for a password, whether somebody has it or not.
    fn user(&mut self, name: String) -> Reply {
        match &mut self.stage {
            Stage::Visitor(visitor) => {
                *visitor = Visitor { name: Some(name), question: None };
                say::PASSWORD_WANTED
            }
            Stage::Guest(_) => say::ALREADY_IN,
        }
    }

    async fn pass(&mut self, password: Secret<String>) -> Act {
        let origin = self.origin();
        let Stage::Visitor(visitor) = &mut self.stage else { return Act::Say(say::ALREADY_IN) };
        visitor.question = None;
        let Some(name) = visitor.name.take() else { return Act::Say(say::USER_FIRST) };
        let verdict = self.house.porter.log_in(&origin, &name, password).await;
        self.judged(verdict).await
    }

    async fn acct(&mut self, code: Secret<String>) -> Act {
        let origin = self.origin();
        let question = match &mut self.stage {
            Stage::Visitor(visitor) => visitor.question.take(),
            Stage::Guest(_) => None,
        };
        let Some(question) = question else { return Act::Say(say::NOTHING_ASKED) };
        let verdict = question.answer(&origin, code).await;
        if matches!(verdict, Verdict::Asked(..)) {
            // Asked once more means that this answer was wrong.
            self.wrong_tries += 1;
        }
        self.judged(verdict).await
    }

    /// Words the gate's answer. The last of the wrong tries gets the answer that all get, and the end behind it.
    async fn judged(&mut self, verdict: Verdict) -> Act {
        match verdict {
            Verdict::Granted(guest, ended) => return self.welcome(guest, ended),
            Verdict::Busy => return Act::End(Farewell::Said(say::BUSY)),
            Verdict::Asked(question, prompt) if self.wrong_tries < MOST_WRONG_TRIES => {
                self.stage = Stage::Visitor(Visitor { name: None, question: Some(question) });
                return Act::Say(Reply::new(332, format!("{prompt} (say ACCT and the code)")));
            }
            Verdict::Asked(..) => {}
            Verdict::Denied => self.wrong_tries += 1,
        }
        if self.wrong_tries < MOST_WRONG_TRIES {
            return Act::Say(say::DENIED);
        }
        match self.control.say(&say::DENIED).await {
            Ok(()) => Act::End(Farewell::Said(say::TOO_MANY_TRIES)),
            Err(_) => Act::End(Farewell::Gone),
        }
    }

    fn auth(&mut self, private: bool) -> Act {
        let refusal = if self.control.is_secure() {
            say::ALREADY_SECURE
        } else if matches!(self.stage, Stage::Guest(_)) {
            say::ALREADY_IN
        } else if !self.house.settings.explicit_tls {
            say::NO_TLS
        } else if self.control.has_more() {
            return Act::End(Farewell::Said(say::GLUED));
        } else {
            self.level = if private { Level::Private } else { Level::Clear };
            return Act::Protect;
        };
        Act::Say(refusal)
    }

    fn prot(&mut self, level: Level) -> Reply {
        if !self.control.is_secure() || !self.sized {
            return say::PBSZ_FIRST;
        }
        match level {
            Level::Clear if self.house.settings.require_secure => say::PROTECTION_DEMANDED,
            Level::Clear => {
                self.level = level;
                say::UNPROTECTED
            }
            Level::Private => {
                self.level = level;
                say::PROTECTED
            }
        }
    }

    fn feat(&self) -> Reply {
        let settings = &self.house.settings;
        let mut lines: Vec<String> = Vec::with_capacity(24);
        if settings.explicit_tls && !settings.implicit {
            lines.push("AUTH TLS".into());
        }
        if settings.explicit_tls || settings.implicit {
            lines.extend(["PBSZ".into(), "PROT".into()]);
        }
        let (facts, digest) = match &self.stage {
            Stage::Guest(room) => (room.facts(), room.digest()),
            Stage::Visitor(_) => (Shown::all(), Digest::Sha256),
        };
        let star = |chosen: bool| if chosen { "*" } else { "" };
        let mlst =
            Shown::FACTS.into_iter().enumerate().map(|(place, fact)| format!("{fact}{};", star(facts.has(place))));
        let hash = Digest::ALL.into_iter().map(|known| format!("{}{}", known.as_str(), star(known == digest)));
        lines.extend(["UTF8", "TVFS", "EPSV"].map(String::from));
        if settings.active_mode {
            lines.push("EPRT".into());
        }
        lines.extend(["SIZE", "MDTM", "MFMT", "MFF Modify;UNIX.mode;", "REST STREAM"].map(String::from));
        lines.push(format!("MLST {}", mlst.collect::<String>()));
        lines.push(format!("HASH {}", hash.collect::<Vec<_>>().join(";")));
        lines.extend(["RANG STREAM", "XCRC", "XMD5", "XSHA1", "XSHA256", "XSHA512"].map(String::from));
        lines.extend(["AVBL", "CLNT", "HOST", "LANG EN*"].map(String::from));
        Reply::listing(211, "Features:", lines)
    }
}
