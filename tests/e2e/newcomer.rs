//! Users of a house, made through its commands.

use crate::{
    authenticator::Authenticator,
    clients::{Login, Second},
    house::House,
};
use serde_json::Value;

/// A user who exists.
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// The app, where one is enrolled.
    pub app: Option<Authenticator>,
    /// Recovery codes, where an app is enrolled.
    pub recovery: Vec<String>,
}

impl User {
    /// A login with the password alone.
    pub fn with_password(&self) -> Login<'_> {
        Login::new(&self.name, &self.password)
    }

    /// A login with the password and this code.
    pub fn with<'a>(&'a self, code: &'a str) -> Login<'a> {
        Login { second: Second::Code(code), ..self.with_password() }
    }

    /// A login that asks `obtain` for the code once the first factor was shown.
    pub fn asking<'a>(&'a self, obtain: &'a (dyn Fn() -> Option<String> + Sync)) -> Login<'a> {
        Login { second: Second::Asked(obtain), ..self.with_password() }
    }

    /// The app.
    pub fn app(&self) -> &Authenticator {
        self.app.as_ref().unwrap()
    }

    /// A fresh code of the app.
    pub fn code(&self) -> String {
        self.app().code()
    }
}

/// A user to be.
#[must_use]
pub struct Newcomer<'a> {
    house: &'a House,
    name: String,
    password: String,
    arguments: Vec<String>,
    enrols: bool,
}

impl<'a> Newcomer<'a> {
    /// Someone of this name, with a password and nothing else.
    pub fn new(house: &'a House, name: &str) -> Self {
        // Distinct, so that a password in a log can be traced to its user; with the characters that protocols stumble over.
        let password = format!("pass: word/{name}%40&+");
        Self { house, name: name.to_owned(), password, arguments: Vec::new(), enrols: false }
    }

    /// With this password.
    pub fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }

    /// With more arguments for `user add`.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// With an authenticator app.
    pub fn enrolled(mut self) -> Self {
        self.enrols = true;
        self
    }

    /// Makes the user.
    pub fn add(self) -> User {
        let Self { house, name, password, arguments, enrols } = self;
        let mut command = vec!["user", "add", &name, "--password-stdin"];
        command.extend(arguments.iter().map(String::as_str));
        house.run_with(&command, &format!("{password}\n")).ok();
        let (mut app, mut recovery) = (None, Vec::new());
        if enrols {
            let enrolled = house.run(&["otp", "enroll", &name, "--json"]).json();
            app = Some(Authenticator::new(enrolled["secret"].as_str().unwrap()));
            recovery = enrolled["recovery_codes"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
        }
        User { name, password, app, recovery }
    }
}
