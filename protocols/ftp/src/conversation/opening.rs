//! Commands that anybody may give: who one is, TLS, and what the server can do.

use super::{Act, Asked, By, MOST_WRONG_TRIES, Stage, Talk, Visitor};
use crate::{
    CodePrompt,
    command::{Digest, HELP, Level, Open, Shown},
    ends::Farewell,
    porter::{Question, Verdict},
    reply::{Reply, say},
};
use lockgate_model::Secret;

/// The codes of a login (RFC 959; RFC 2228 for the second).
const BY_PASSWORD: u16 = 230;
const BY_CERTIFICATE: u16 = 232;

impl Asked {
    fn wording(&self) -> Reply {
        match self.by {
            By::Pass => Reply::new(331, format!("{} (say PASS and the code)", self.prompt)),
            By::Acct { .. } => Reply::new(332, format!("{} (say ACCT and the code)", self.prompt)),
        }
    }

    /// Whether the first factor was a certificate.
    fn rests_on_a_certificate(&self) -> bool {
        matches!(self.by, By::Pass | By::Acct { certificate: true })
    }
}

impl Talk {
    /// Obeys one.
    pub(super) async fn open(&mut self, command: Open) -> Act {
        let reply = match command {
            Open::User(_) | Open::Pass(_) | Open::Acct(_) if self.must_be_secure() => say::TLS_FIRST,
            Open::User(name) => return self.user(name).await,
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
            Open::Quit => return Act::End(Farewell::Said(self.house.settings.texts.goodbye(self.whom()))),
            // RFC 4217 section 11 would end TLS with it; a connection is cheaper than going back to clear text.
            Open::Rein if self.control.is_secure() => say::REIN_UNDER_TLS,
            Open::Rein => {
                self.stage = Stage::Visitor(Visitor::default());
                return Act::Leave;
            }
            Open::Host => match &self.stage {
                Stage::Visitor(Visitor { name: None, question: None }) => say::HOST_ACCEPTED,
                Stage::Visitor(_) | Stage::Guest(_) => say::HOST_TOO_LATE,
            },
            Open::Clnt => say::CLIENT_NOTED,
            Open::Lang => say::LANGUAGE,
            Open::OptsUtf8 => say::UTF8_ALWAYS,
        };
        Act::Say(reply)
    }

    /// Any name is asked for a password, whether somebody has it or not; but where the client proved by a certificate whose it
    /// is, the password is not needed (232 of RFC 2228).
    async fn user(&mut self, name: String) -> Act {
        if matches!(self.stage, Stage::Guest(_)) {
            return Act::Say(say::ALREADY_IN);
        }
        // What was asked of the name before is over.
        self.stage = Stage::Visitor(Visitor::default());
        if self.certificate_still_counts() {
            match self.house.porter.recognise(&self.origin(), &name).await {
                Some(Verdict::Granted(guest, ended)) => {
                    self.needs_no_password = true;
                    return self.welcome(guest, ended, BY_CERTIFICATE);
                }
                Some(Verdict::Asked(question, prompt)) => {
                    return Act::Say(self.ask_in_place_of_a_password(question, prompt));
                }
                Some(Verdict::Busy) => return Act::End(Farewell::Said(say::BUSY)),
                Some(Verdict::Denied) | None => {}
            }
        }
        self.stage = Stage::Visitor(Visitor { name: Some(name), question: None });
        Act::Say(say::PASSWORD_WANTED)
    }

    /// Looks again at the certificate: its authority may be gone, or it may have been taken back, since TLS began. One that did
    /// not count then does not come to count on this connection.
    fn certificate_still_counts(&mut self) -> bool {
        if self.certificate.is_some() {
            self.certificate = self.control.client_subject(&self.house.tls);
        }
        self.certificate.is_some()
    }

    fn ask_in_place_of_a_password(&mut self, question: Box<dyn Question>, prompt: String) -> Reply {
        let by = match self.house.settings.code_prompt {
            CodePrompt::Compound => By::Pass,
            CodePrompt::Account => By::Acct { certificate: true },
        };
        self.ask(Asked { question, prompt, by })
    }

    /// Puts a question.
    fn ask(&mut self, asked: Asked) -> Reply {
        let reply = asked.wording();
        self.stage = Stage::Visitor(Visitor { name: None, question: Some(asked) });
        reply
    }

    async fn pass(&mut self, password: Secret<String>) -> Act {
        let origin = self.origin();
        let visitor = match &mut self.stage {
            Stage::Guest(_) if self.needs_no_password => return Act::Say(say::PASSWORD_NOT_NEEDED),
            Stage::Guest(_) => return Act::Say(say::ALREADY_IN),
            Stage::Visitor(visitor) => visitor,
        };
        match visitor.question.take() {
            Some(asked) if asked.by == By::Pass => return self.answer_by_pass(asked, &password).await,
            // A client that sends its password in any case is told again what is wanted.
            Some(asked) if asked.by == (By::Acct { certificate: true }) => return Act::Say(self.ask(asked)),
            Some(_) | None => {}
        }
        let Some(name) = visitor.name.take() else { return Act::Say(say::USER_FIRST) };
        match self.house.porter.log_in(&origin, &name, password).await {
            Verdict::Asked(question, prompt) => {
                Act::Say(self.ask(Asked { question, prompt, by: By::Acct { certificate: false } }))
            }
            verdict => self.judged(verdict).await,
        }
    }

    async fn acct(&mut self, code: Secret<String>) -> Act {
        let question = match &mut self.stage {
            Stage::Visitor(visitor) => visitor.question.take_if(|asked| asked.by != By::Pass),
            Stage::Guest(_) => None,
        };
        match question {
            Some(asked) => self.answer(asked, code).await,
            None => Act::Say(say::NOTHING_ASKED),
        }
    }

    /// Answers a question with what came in the place of a password, which may be the password that a client has stored. That is
    /// nobody's business: what holds no code is not shown to whoever judges codes, and is no wrong code.
    async fn answer_by_pass(&mut self, asked: Asked, said: &Secret<String>) -> Act {
        if let Some(code) = asked.question.code_in(said) {
            return self.answer(asked, code).await;
        }
        self.no_answers += 1;
        if self.no_answers >= MOST_WRONG_TRIES {
            return Act::End(Farewell::Said(say::TOO_MANY_TRIES));
        }
        // The question stands. 331 after a PASS is what no client expects.
        let refusal = Reply::new(530, format!("{} (say PASS and the code, not the password)", asked.prompt));
        let _ = self.ask(asked);
        Act::Say(refusal)
    }

    /// Answers a question.
    async fn answer(&mut self, asked: Asked, code: Secret<String>) -> Act {
        if asked.rests_on_a_certificate() && !self.certificate_still_counts() {
            return self.judged(Verdict::Denied).await;
        }
        let Asked { question, by, .. } = asked;
        let verdict = question.answer(&self.origin(), code).await;
        match verdict {
            // Asked once more means that this answer was wrong.
            Verdict::Asked(question, prompt) if by != By::Pass && self.wrong_tries + 1 < MOST_WRONG_TRIES => {
                self.wrong_tries += 1;
                Act::Say(self.ask(Asked { question, prompt, by }))
            }
            // A PASS that is answered by another 331 is what no client expects.
            Verdict::Asked(..) => self.judged(Verdict::Denied).await,
            verdict => self.judged(verdict).await,
        }
    }

    /// Words the gate's answer, which is no question. The last of the wrong tries gets the answer that all get, and the end
    /// behind it.
    async fn judged(&mut self, verdict: Verdict) -> Act {
        match verdict {
            Verdict::Granted(guest, ended) => return self.welcome(guest, ended, BY_PASSWORD),
            Verdict::Busy => return Act::End(Farewell::Said(say::BUSY)),
            Verdict::Asked(..) | Verdict::Denied => self.wrong_tries += 1,
        }
        let denied = self.house.settings.texts.denied(self.whom());
        if self.wrong_tries < MOST_WRONG_TRIES {
            return Act::Say(denied);
        }
        match self.control.say(&denied).await {
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
        lines.extend(["SIZE", "MDTM", "MFMT", "MFF Modify;UNIX.mode;", "REST STREAM", "MODE Z"].map(String::from));
        lines.push(format!("MLST {}", mlst.collect::<String>()));
        lines.push(format!("HASH {}", hash.collect::<Vec<_>>().join(";")));
        lines.extend(["RANG STREAM", "XCRC", "XMD5", "XSHA1", "XSHA256", "XSHA512"].map(String::from));
        lines.extend(["AVBL", "CLNT", "HOST", "LANG EN*"].map(String::from));
        Reply::listing(211, "Features:", lines)
    }
}
