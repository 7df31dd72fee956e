//! The mail server and the texts of messages.

use super::{items, reader::Findings, reader::Reader, survey::survey};
use crate::{secret::SecretText, tree::Element, url::is_loopback, values::split_host_port};
use std::path::PathBuf;

/// The mail server.
#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    /// The host of `smtp_server`; `None` where none is set.
    pub host: Option<String>,
    /// `smtp_port`, the port in `smtp_server`, or the usual one of the mode.
    pub port: u16,
    /// `smtp_user`.
    pub user: Option<String>,
    /// `smtp_pass`.
    pub password: Option<SecretText>,
    /// `smtp_from`: one mailbox.
    pub from: Option<String>,
    /// How the connection is protected.
    pub tls: MailTls,
    /// `smtp_tls_ca`, from the home where relative: the one authority to trust; `None` takes those of the system.
    pub authority: Option<PathBuf>,
    /// `smtp_html`: bodies are HTML.
    pub html: bool,
}

/// How a connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// From the first byte (`smtp_ssl`).
    Implicit,
    /// By STARTTLS (`smtp_start_tls_allowed`).
    StartTls,
    /// Not at all.
    None,
}

/// The text of a message (`email_templates`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailTemplate {
    /// `name`.
    pub name: String,
    /// `emailFrom`.
    pub from: Option<String>,
    /// `emailReplyTo`.
    pub reply_to: Option<String>,
    /// `emailCC`.
    pub cc: Vec<String>,
    /// `emailBCC`.
    pub bcc: Vec<String>,
    /// `emailSubject`: one line.
    pub subject: Option<String>,
    /// `emailBody`.
    pub body: Option<String>,
}

impl EmailTemplate {
    /// The name of the template that carries codes.
    pub const TWO_FACTOR: &'static str = "Two Factor Auth";
}

pub(super) fn read_server(top: &mut Reader<'_>) -> Mail {
    let server = top.text("smtp_server");
    let (host, inner_port) = match server.as_deref().and_then(split_host_port) {
        Some((host, port)) => (Some(host.to_owned()), port),
        None => (None, None),
    };
    let own_port = top.optional_count::<u16>("smtp_port");
    let tls = match (top.switch("smtp_ssl"), top.switch("smtp_start_tls_allowed")) {
        (true, _) => MailTls::Implicit,
        (false, true) => MailTls::StartTls,
        (false, false) => MailTls::None,
    };
    let usual = match tls {
        MailTls::Implicit => 465,
        MailTls::StartTls => 587,
        MailTls::None => 25,
    };
    let mail = Mail {
        host,
        port: own_port.or(inner_port).unwrap_or(usual),
        user: top.text("smtp_user"),
        password: top.secret("smtp_pass"),
        from: top.text("smtp_from"),
        tls,
        authority: top.path_value("smtp_tls_ca"),
        html: top.switch("smtp_html"),
    };
    if let (Some(own), Some(inner)) = (own_port, inner_port)
        && own != inner
    {
        let problem = format!("is {own}, but smtp_server says port {inner}");
        let place = top.place("smtp_port");
        top.findings.conflict(place, "smtp_port", problem, "leave one of the two out");
    }
    check_protection(&mail, top);
    mail
}

/// A password or a code in clear may go no farther than this machine.
fn check_protection(mail: &Mail, top: &mut Reader<'_>) {
    let Some(host) = &mail.host else { return };
    if mail.tls != MailTls::None || is_loopback(host) {
        return;
    }
    let place = top.place("smtp_start_tls_allowed").or_else(|| top.place("smtp_server"));
    if mail.password.is_some() {
        let problem = "is false and smtp_ssl too: the mail server's password would travel in clear";
        let advice = "set one of them to true, or leave smtp_pass out";
        top.findings.conflict(place, "smtp_start_tls_allowed", problem, advice);
    } else {
        let text = "is false and smtp_ssl too: codes travel to the mail server in clear";
        top.findings.warn(place, "smtp_start_tls_allowed", text);
    }
}

pub(super) fn read_templates(root: &Element, findings: &mut Findings) -> Vec<EmailTemplate> {
    let mut templates: Vec<EmailTemplate> = Vec::new();
    for (index, item) in items(root, "email_templates", findings).into_iter().enumerate() {
        survey(item, Some("email_templates"), &format!("email_templates[{index}]."), findings);
        let mut reader = Reader::item(item, "email_templates", index, findings);
        let template = EmailTemplate {
            name: reader.text("name").unwrap_or_default(),
            from: reader.text("emailFrom"),
            reply_to: reader.text("emailReplyTo"),
            cc: reader.list("emailCC"),
            bcc: reader.list("emailBCC"),
            subject: reader.text("emailSubject"),
            body: reader.text("emailBody"),
        };
        let place = reader.place("name").or(Some(item.place()));
        let key = reader.path("name");
        if template.name.is_empty() && reader.is_given("name") {
            findings.conflict(place, key, "is empty", "give the template a name");
        } else if templates.iter().any(|other| other.name == template.name) {
            let problem = format!("is {:?}, as another template's is", template.name);
            findings.conflict(place, key, problem, "rename or remove one of them");
        } else if template.name == EmailTemplate::TWO_FACTOR
            && !template.body.as_deref().is_some_and(|body| body.contains("{auth_token}"))
        {
            let text = "carries no code: put {auth_token} into it";
            findings.warn(Some(item.place()), format!("email_templates[{index}].emailBody"), text);
        }
        templates.push(template);
    }
    templates
}
