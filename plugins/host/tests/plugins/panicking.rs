//! A plugin in Rust that panics where it is told to.

use lockgate_plugin::{Begin, Begun, Factor, Failure, Plugin, Settings, User};

struct Panicking;

impl Plugin for Panicking {
    fn open(_: &Settings<'_>) -> Result<Self, Failure> {
        Ok(Self)
    }
}

impl Factor for Panicking {
    fn serves(&self, _: &User<'_>) -> Result<bool, Failure> {
        Ok(true)
    }

    fn begin(&self, ask: &Begin<'_>) -> Result<Begun, Failure> {
        match ask.code()? {
            "ok" => Ok(Begun::prompt("fine")),
            #[expect(clippy::panic, reason = "that is what this plugin is for")]
            code => panic!("the code is {code}"),
        }
    }
}

lockgate_plugin::export! {
    plugin: Panicking,
    name: "panicking",
    summary: "panics",
    settings: "{}",
    roles: [delivers],
    flags: [],
}
