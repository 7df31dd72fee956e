//! Sessions made by chance: the same number makes the same session on every machine.

/// How a data connection is to come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Pasv,
    Epsv,
    Port,
    Eprt,
}

impl Way {
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Pasv => "PASV",
            Self::Epsv => "EPSV",
            Self::Port => "PORT",
            Self::Eprt => "EPRT",
        }
    }
}

/// One thing that a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A line, and the reply to it.
    Say(String),
    /// A line that brings data.
    Get(Way, String),
    /// A line that takes these bytes.
    Put(Way, String, Vec<u8>),
}

impl Step {
    /// What is said.
    pub(super) fn line(&self) -> &str {
        match self {
            Self::Say(line) | Self::Get(_, line) | Self::Put(_, line, _) => line,
        }
    }
}

/// A session: what comes before the login, whether there is one, and what comes after.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) logs_in: bool,
    pub(super) steps: Vec<Step>,
}

/// Names of what is there at the beginning, of what is not, and spellings that mean one or the other. `{}` in a line is one of
/// them.
const NAMES: &[&str] = &[
    "a",
    "a",
    "text",
    "text",
    "d",
    "d",
    "d/c",
    "d/c",
    "d/e",
    "d/e/f",
    "new",
    "new",
    "n2",
    "d/new",
    "nope",
    "nope/x",
    "/",
    "/d",
    "/d/c",
    "/new",
    "..",
    "../..",
    "../a",
    "d/..",
    "d/../a",
    ".",
    "./a",
    "a/",
    "d/",
    "d//c",
    "a/x",
    "a b",
    "caf\u{e9}",
    "-l",
    "-la",
    "*",
    "*e*",
    "d/*",
    "?",
    "~",
    "%61",
    "\\x61",
    "\"q\"",
    "empty",
    "d e",
    "a:b",
    ";x",
];

/// What is said outside of transfers, with how often.
const LINES: &[(u32, &str)] = &[
    (8, "CWD {}"),
    (3, "CDUP"),
    (3, "PWD"),
    (6, "MKD {}"),
    (6, "RMD {}"),
    (6, "DELE {}"),
    (8, "RNFR {}"),
    (12, "RNTO {}"),
    (6, "SIZE {}"),
    (4, "MDTM {}"),
    (3, "REST 2"),
    (1, "REST 0"),
    (1, "REST 99"),
    (1, "REST -1"),
    (1, "REST x"),
    (1, "REST"),
    (4, "TYPE I"),
    (4, "TYPE A"),
    (1, "TYPE A N"),
    (1, "TYPE L 8"),
    (1, "TYPE E"),
    (1, "TYPE"),
    (1, "type i"),
    (2, "MODE S"),
    (1, "MODE B"),
    (1, "MODE C"),
    (1, "MODE X"),
    (2, "STRU F"),
    (1, "STRU R"),
    (1, "STRU P"),
    (1, "STRU X"),
    (2, "ALLO 10"),
    (1, "ALLO 10 R 20"),
    (1, "ALLO x"),
    (1, "ALLO"),
    (2, "NOOP"),
    (1, "noop"),
    (1, "FEAT"),
    (1, "SYST"),
    (1, "STAT"),
    (2, "STAT {}"),
    (1, "HELP"),
    (1, "HELP RETR"),
    (1, "SITE HELP"),
    (1, "SITE CHMOD 640 {}"),
    (1, "SITE CHMOD 999 {}"),
    (1, "SITE NOPE"),
    (1, "SITE"),
    (2, "PASV"),
    (2, "EPSV"),
    (1, "EPSV 1"),
    (1, "EPSV 2"),
    (1, "EPSV 9"),
    (1, "PORT 127,0,0,1,0,1"),
    (1, "PORT 127,0,0,2,4,1"),
    (1, "PORT 1,2,3"),
    (1, "PORT 127,0,0,1,200,999"),
    (1, "EPRT |1|127.0.0.1|1|"),
    (1, "EPRT |1|127.0.0.2|1025|"),
    (1, "EPRT |2|::1|1025|"),
    (1, "EPRT |3|x|1|"),
    (1, "EPRT x"),
    (2, "ABOR"),
    (1, "USER alice"),
    (1, "PASS right"),
    (1, "ACCT x"),
    (1, "OPTS UTF8 ON"),
    (1, "OPTS NOPE"),
    (1, "CLNT x"),
    (1, "REIN"),
    (1, "QUIT"),
    (1, "XYZZY"),
    (1, "XYZZY {}"),
    (1, "XPWD"),
    (1, "XCWD {}"),
    (1, "XMKD {}"),
    (1, "XRMD {}"),
    (1, "XCUP"),
    (1, "SMNT x"),
    (1, "LIST {}"),
    (1, "RETR {}"),
    (1, "STOR {}"),
    (3, "MLST {}"),
    (1, "MLST"),
    (1, "CWD"),
    (1, "MKD"),
    (1, "DELE"),
    (1, "RETR"),
    (1, "SIZE"),
    (1, "RNFR"),
    (1, "CDUP x"),
    (1, "PWD x"),
    (1, "NOOP x"),
    (1, "PASV x"),
    (1, "AUTH NOPE"),
    (1, "PBSZ 0"),
    (1, "PROT C"),
    (1, "PROT P"),
    (1, "CCC"),
    (1, "LANG EN"),
    (1, "HOST x"),
    (1, "{}"),
    (1, " NOOP"),
    (1, "NOOP "),
    (1, "X"),
];

/// What brings data.
const GETS: &[(u32, &str)] = &[
    (10, "RETR {}"),
    (3, "LIST"),
    (3, "LIST {}"),
    (1, "LIST -la"),
    (1, "LIST -la {}"),
    (3, "NLST"),
    (3, "NLST {}"),
    (2, "MLSD"),
    (2, "MLSD {}"),
];

/// What takes data.
const PUTS: &[(u32, &str)] = &[(8, "STOR {}"), (4, "APPE {}"), (1, "STOU"), (1, "STOU {}")];

/// What strangers say.
const BEFORE: &[(u32, &str)] = &[
    (4, "USER alice"),
    (2, "USER bob"),
    (1, "USER"),
    (3, "PASS wrong"),
    (1, "PASS right"),
    (1, "PASS"),
    (1, "ACCT x"),
    (1, "FEAT"),
    (1, "SYST"),
    (1, "HELP"),
    (1, "NOOP"),
    (1, "PWD"),
    (1, "CWD /"),
    (1, "RETR a"),
    (1, "RNTO x"),
    (1, "PASV"),
    (1, "EPSV"),
    (1, "TYPE I"),
    (1, "TYPE Q"),
    (1, "MKD x"),
    (1, "STAT"),
    (1, "REIN"),
    (1, "XYZZY"),
    (1, "QUIT"),
    (1, "SITE HELP"),
    (1, "PBSZ 0"),
    (1, "OPTS UTF8 ON"),
    (1, "ABOR"),
];

/// What is sent: nothing, text of both kinds, and more than a buffer.
const BODIES: &[&[u8]] = &[b"", b"1\n2\r\n3\r", b"0123456789", &[b'\n'; 70_000]];

/// The session that this number makes.
pub(super) fn script(seed: u64) -> Script {
    // Mixed first: numbers side by side would give the same stream, one place further.
    let mut chance = Chance(Chance(seed).next());
    let logs_in = chance.below(10) > 0;
    let length = 1 + chance.below(if logs_in { 40 } else { 8 });
    let steps = (0..length).map(|_| if logs_in { chance.step() } else { Step::Say(chance.line(BEFORE)) }).collect();
    Script { logs_in, steps }
}

/// SplitMix64: small, even, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn line(&mut self, lines: &[(u32, &str)]) -> String {
        let sum: u32 = lines.iter().map(|(often, _)| often).sum();
        let mut place = u32::try_from(self.below(sum as usize)).unwrap();
        let (_, line) = lines
            .iter()
            .find(|(often, _)| {
                let found = place < *often;
                place = place.saturating_sub(*often);
                found
            })
            .unwrap();
        let name: &&str = self.of(NAMES);
        line.replace("{}", name)
    }

    fn step(&mut self) -> Step {
        let way = *self.of(&[Way::Pasv, Way::Epsv, Way::Epsv, Way::Port, Way::Eprt]);
        match self.below(10) {
            0..=5 => Step::Say(self.line(LINES)),
            6 | 7 => Step::Get(way, self.line(GETS)),
            _ => {
                let line = self.line(PUTS);
                Step::Put(way, line, self.of(BODIES).to_vec())
            }
        }
    }
}
