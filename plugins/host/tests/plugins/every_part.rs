//! A plugin in Rust that plays every part, and panics where it is told to.

use std::sync::Mutex;

use lockgate_plugin::{
    Begin, Begun, CheckPassword, Directory, Events, Factor, Failure, Plugin, Settings, Standing, User,
};

/// Keeps the last event that it was told.
struct EveryPart(Mutex<String>);

impl Plugin for EveryPart {
    fn open(_: &Settings<'_>) -> Result<Self, Failure> {
        Ok(Self(Mutex::default()))
    }
}

impl Factor for EveryPart {
    fn serves(&self, _: &User<'_>) -> Result<bool, Failure> {
        Ok(true)
    }

    fn begin(&self, ask: &Begin<'_>) -> Result<Begun, Failure> {
        match ask.code()? {
            "ok" => Ok(Begun::prompt("fine")),
            "last event" => Ok(Begun::prompt(self.0.lock().map_err(|_| Failure::error("poisoned"))?.clone())),
            #[expect(clippy::panic, reason = "that is what this plugin is for")]
            code => panic!("the code is {code}"),
        }
    }
}

impl Directory for EveryPart {
    fn check_password(&self, ask: &CheckPassword<'_>) -> Result<Standing, Failure> {
        match (ask.name(), ask.password()) {
            ("alice", b"right") => Ok(Standing::Right(vec![("email".into(), "alice@example.net".into())])),
            ("alice", b"away") => Err(Failure::unavailable("the other side is away")),
            ("alice", _) => Ok(Standing::Wrong),
            _ => Ok(Standing::Unknown),
        }
    }
}

impl Events for EveryPart {
    fn event(&self, json: &str) -> Result<(), Failure> {
        json.clone_into(&mut *self.0.lock().map_err(|_| Failure::error("poisoned"))?);
        Ok(())
    }
}

lockgate_plugin::export! {
    plugin: EveryPart,
    name: "every-part",
    summary: "plays every part",
    settings: "{}",
    roles: [delivers, directory, events],
    flags: [],
}
