//! Clients that stop in the middle of a transfer and go on when they are told: what happens meanwhile is the rule's.

use crate::{
    house::House,
    newcomer::User,
    program::{clean_command, python, sources},
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

/// The doors by which files come, and the listener of each.
pub const DOORS: [(&str, &str); 6] =
    [("ftp", "ftp"), ("ftps", "ftp"), ("sftp", "sftp"), ("http", "http"), ("dav", "http"), ("tus", "http")];

/// One login, one transfer at a time, by `halves.py`.
pub struct Halves {
    /// The door, as in [`DOORS`].
    pub door: &'static str,
    process: Child,
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Halves {
    /// Logs in.
    pub fn open(house: &House, user: &User, door: &'static str) -> Self {
        let (_, listener) = DOORS.into_iter().find(|(name, _)| *name == door).unwrap();
        let address = house.door(listener);
        let mut command = clean_command(python());
        command.arg(sources().join("tests/e2e/clients/scripts/halves.py"));
        command.args([door, &address.ip().to_string(), &address.port().to_string()]);
        command.env("HOME", house.folder()).env("NAME", &user.name).env("PASSWORD", &user.password);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (words, answers) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { door, process, words, answers }
    }

    /// One for each door, all of them logged in.
    pub fn open_each(house: &House, user: &User) -> Vec<Self> {
        let mut all: Vec<Self> = DOORS.into_iter().map(|(door, _)| Self::open(house, user, door)).collect();
        for one in &mut all {
            one.greeted();
        }
        all
    }

    /// Waits until it is in.
    pub fn greeted(&mut self) {
        assert_eq!(self.answer(), "in", "{}", self.door);
    }

    /// Says one line of `halves.py`; its answer.
    pub fn say(&mut self, line: &str) -> String {
        writeln!(self.words, "{line}").unwrap();
        self.answer()
    }

    /// Says one line that must be answered so.
    #[track_caller]
    pub fn must(&mut self, line: &str, answer: &str, whom: &str) {
        let told = self.say(line);
        assert_eq!(told, answer, "{whom}: {}: {line}", self.door);
    }

    /// Says one line that must be refused with one of these words.
    #[track_caller]
    pub fn refuses(&mut self, line: &str, words: &[&str], whom: &str) {
        let told = self.say(line);
        let fits = told.strip_prefix("refused: ").is_some_and(|told| words.iter().any(|word| told.contains(word)));
        assert!(fits, "{whom}: {}: {line}: {told}", self.door);
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
