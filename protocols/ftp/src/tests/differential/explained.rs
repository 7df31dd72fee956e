//! Where other servers answer otherwise, and why. `docs/ftp-differences.md` is made from this.
//!
//! A difference that stands in no table is a fault of somebody: of ours it is mended, of theirs it is written here. One that a
//! long run does not meet any more is taken out.

use std::fmt::Write as _;

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The codes of the replies.
    Replies,
    /// What a reply says: a path, a size, a time.
    Words,
    /// What comes over the data connection.
    Data,
    /// What is in the folder afterwards.
    Files,
}

/// One difference, and why it is there.
pub(super) struct Explained {
    /// The lines, with `*` for anything. Behind a line stands in brackets what makes it mean something else: `(TYPE A)`,
    /// `(REST)`.
    pub(super) lines: &'static [&'static str],
    pub(super) what: What,
    /// The codes here, `*` for any; for other things than replies nothing.
    pub(super) ours: &'static str,
    /// The codes there, `*` for any.
    pub(super) theirs: &'static str,
    pub(super) why: &'static str,
    /// Whether the two are apart after it, so that the rest of a session must begin anew.
    pub(super) apart: bool,
}

impl Explained {
    /// After it the two are apart.
    const fn apart(mut self) -> Self {
        self.apart = true;
        self
    }
}

const fn replies(
    lines: &'static [&'static str],
    ours: &'static str,
    theirs: &'static str,
    why: &'static str,
) -> Explained {
    Explained { lines, what: What::Replies, ours, theirs, why, apart: false }
}

const fn other(lines: &'static [&'static str], what: What, why: &'static str) -> Explained {
    Explained { lines, what, ours: "", theirs: "", why, apart: false }
}

/// libunftp 0.24, over the same tree.
pub(super) const LIBUNFTP: &[Explained] = &[
    // What strangers may say.
    replies(
        &["SYST", "REIN", "XYZZY", "HOST x", "CLNT x", "LANG EN"],
        "*",
        "530",
        "strangers are told what needs no login, and that a word is none",
    ),
    replies(&["ACCT x"], "503", "530", "no account was asked for: a command out of turn"),
    replies(&["USER alice", "USER bob"], "331", "503", "a name may be said again until a password came").apart(),
    replies(&["USER"], "501", "331", "no name is no name"),
    replies(&["USER"], "501", "503", "no name is no name"),
    replies(&["PASS*"], "503", "530", "a command out of turn"),
    replies(&["PASS right"], "503", "230", "no name is no name").apart(),
    replies(&["*"], "421", "*", "three wrong passwords end the connection").apart(),
    replies(&["PBSZ 0"], "503", "200", "RFC 4217 section 9: PBSZ is for connections under TLS"),
    replies(&["PROT *"], "503", "502", "RFC 4217 section 9: PROT comes after PBSZ"),
    replies(
        &["CCC"],
        "533",
        "502",
        "RFC 4217 section 6: 533 is the refusal of a server that keeps the connection protected",
    ),
    // Words.
    replies(&["*"], "501", "501 closed", "libunftp ends the connection behind an argument that it cannot parse"),
    replies(
        &["AUTH NOPE", "MODE X", "STRU X"],
        "504",
        "501 closed",
        "504 is for a known command with an unknown argument",
    ),
    replies(&["CDUP x"], "250", "501 closed", "what stands behind a command that has no argument is not looked at"),
    replies(&["NOOP x"], "200", "501 closed", "what stands behind a command that has no argument is not looked at"),
    replies(&["PWD x"], "257", "501 closed", "what stands behind a command that has no argument is not looked at"),
    replies(&["PASV x"], "227", "501 closed", "what stands behind a command that has no argument is not looked at"),
    replies(&["REIN"], "220", "500", "libunftp has no REIN").apart(),
    replies(&["HOST x"], "503", "500", "libunftp has no HOST; here it comes before USER (RFC 7151 section 3.2)"),
    replies(&["CLNT x", "LANG EN"], "200", "500", "libunftp has neither"),
    replies(&["SMNT x"], "502", "500", "a command of RFC 959 that is not there: 502"),
    replies(
        &["XCUP", "XCWD *", "XRMD *", "XMKD *", "XPWD"],
        "*",
        "500",
        "libunftp has no X commands (RFC 1123 section 4.1.3.1 wants them)",
    )
    .apart(),
    replies(&["SITE*"], "*", "502", "libunftp has no SITE commands but its own"),
    replies(&["ALLO *"], "200", "202", "the number is looked at when the file comes, so it is not superfluous"),
    replies(&["ALLO", "ALLO x"], "501", "202", "libunftp does not look at the argument"),
    replies(&["TYPE", "TYPE E", "TYPE Q"], "50*", "200", "libunftp takes any TYPE and sends images"),
    replies(&["EPSV 2", "EPSV 9"], "522", "229", "libunftp does not look at the family"),
    // Names.
    replies(&["*(REST)"], "*", "150 550", "libunftp keeps an offset where a transfer is refused").apart(),
    replies(
        &["APPE *", "STOR *", "RETR *", "LIST *", "NLST *", "MLSD *"],
        "550",
        "150 550",
        "a name is looked at before a data connection is opened for it",
    ),
    replies(
        &["APPE *..*", "STOR *..*", "RETR *..*", "LIST *..*", "NLST *..*", "MLSD *..*"],
        "550",
        "150 553",
        "a name above the root is as absent as any other, and told so before 150",
    ),
    replies(
        &[
            "XMKD *..*",
            "XCWD *..*",
            "CWD *..*",
            "MKD *..*",
            "RMD *..*",
            "DELE *..*",
            "RNFR *..*",
            "SIZE *..*",
            "MDTM *..*",
            "MLST *..*",
        ],
        "550",
        "553",
        "a name above the root is as absent as any other",
    ),
    replies(&["LIST *", "NLST *"], "150 226", "150 550", "libunftp knows no patterns"),
    replies(&["MLSD *"], "550", "150 226", "RFC 3659 section 7.2: MLSD is for folders"),
    replies(&["MLST *"], "250", "550", "libunftp takes the name for one of the root, whatever the folder"),
    replies(&["MLST *"], "550", "250", "libunftp takes the name for one of the root, whatever the folder"),
    replies(&["SIZE *"], "550", "213", "a folder has no size that could be transferred (RFC 3659 section 4)"),
    replies(&["STAT *"], "*", "200", "RFC 959 section 5.4: STAT with a name answers 212 or 213"),
    replies(&["STAT *"], "212", "451", "libunftp knows no patterns, and says 451 for a name that is not there"),
    replies(&["STAT *"], "550", "451", "RFC 959 section 5.4 has 450 and 550 for a name that is not there"),
    replies(&["STOU *"], "150 226", "501 closed", "a name behind STOU is not taken, but no reason to refuse"),
    // Order.
    replies(&["RNTO *"], "503", "250", "RFC 959 section 4.1.3: RNTO comes right behind RNFR").apart(),
    replies(&["RNTO *"], "503", "450", "RFC 959 section 5.4 has no 450 for RNTO, and 503 for a command out of turn"),
    replies(&["RNTO *"], "503", "550", "RFC 959 section 4.1.3: RNTO comes right behind RNFR"),
    // Data.
    replies(&["EPRT*"], "*", "500", "libunftp has no EPRT").apart(),
    replies(
        &["RETR *", "STOR *", "LIST *"],
        "425",
        "150 silence",
        "150 is said once the data connection is there (RFC 959 section 5.4 would allow both)",
    )
    .apart(),
    replies(&["PORT *"], "50*", "425", "refused for what it asks, not for what became of it"),
    other(&["RETR *(REST BEFORE)"], What::Data, "RFC 959 section 4.1.3: an offset is for the command right behind it")
        .apart(),
    other(
        &["STOR *(REST BEFORE)", "APPE *(REST BEFORE)"],
        What::Files,
        "RFC 959 section 4.1.3: an offset is for the command right behind it",
    )
    .apart(),
    replies(&["*(REST BEFORE)"], "*", "150 550", "RFC 959 section 4.1.3: an offset is for the command right behind it")
        .apart(),
    replies(
        &["REST 2 (TYPE A)", "REST 99 (TYPE A)"],
        "501",
        "350",
        "an offset means bytes, and those of TYPE A are none of the file's",
    )
    .apart(),
    replies(
        &["RETR *(REST)"],
        "554",
        "150 226",
        "RFC 3659 section 5.3: an offset behind the end of the file is refused",
    ),
    replies(
        &["RETR *", "STOR *", "LIST *"],
        "*",
        "425",
        "a data connection that a refused command did not use is there for the next one",
    )
    .apart(),
    other(&["*CWD *", "CDUP", "XCUP"], What::Words, "libunftp keeps dots and slashes in paths").apart(),
    other(&["RETR *(TYPE A)*"], What::Data, "libunftp sends files as they are in TYPE A too"),
    other(&["STOR *(TYPE A)*", "APPE *(TYPE A)*"], What::Files, "libunftp stores what comes as it is in TYPE A too")
        .apart(),
    other(&["SIZE *(TYPE A)"], What::Words, "RFC 3659 section 4: the size is that of what would be transferred"),
];

/// vsftpd 3, for anonymous users with every right.
pub(super) const VSFTPD: &[Explained] = &[
    // What strangers may say.
    replies(
        &["ACCT x", "HELP", "SYST", "REIN", "XYZZY", "PBSZ 0", "USER", "OPTS *"],
        "*",
        "530",
        "strangers are told what needs no login, and that a word is none",
    ),
    replies(&["USER bob"], "331", "530", "which names there are is not told (here vsftpd knows one only)"),
    replies(
        &["USER alice", "USER bob"],
        "503",
        "530",
        "a user who has logged in is one until REIN: a command out of turn",
    ),
    // Words.
    replies(&["NOOP"], "200", "530", "strangers are told what needs no login"),
    replies(&["PASS *"], "503", "230", "a command out of turn"),
    replies(&["PASS*"], "530", "503", "a USER without a name does not take the name before it away"),
    replies(&["PASS wrong"], "*", "503 closed", "vsftpd ends the connection at the second PASS without USER"),
    replies(&["SMNT x", "EPRT *", "PORT *"], "530", "*", "nothing about a command is told before the login"),
    replies(&["ABOR"], "226", "225", "RFC 959 section 4.1.3 has 226 also where no transfer is under way"),
    replies(&["ACCT x"], "503", "502", "no account was asked for: a command out of turn"),
    replies(&["ALLO *"], "200", "202", "the number is looked at when the file comes, so it is not superfluous"),
    replies(&["ALLO", "ALLO x"], "501", "202", "vsftpd does not look at the argument"),
    replies(&["AUTH NOPE"], "504", "500", "504 is for a known command with an unknown argument"),
    replies(&["CCC"], "533", "500", "vsftpd has no CCC"),
    replies(&["PBSZ 0", "PROT *"], "503", "550", "RFC 4217 section 9: a command out of turn outside of TLS"),
    replies(&["CLNT x", "LANG EN"], "200", "500", "vsftpd has neither"),
    replies(&["HOST x"], "503", "500", "vsftpd has no HOST; here it comes before USER (RFC 7151 section 3.2)"),
    replies(&["REIN"], "220", "502", "vsftpd has no REIN").apart(),
    replies(&["MLSD*", "MLST*"], "*", "500", "vsftpd has neither MLSD nor MLST").apart(),
    replies(
        &["CWD", "MKD", "RMD", "DELE", "RNFR", "SIZE", "MDTM"],
        "501",
        "550",
        "a missing argument is a fault of the line, not of a file",
    ),
    replies(&["RETR"], "501", "550", "a missing argument is a fault of the line, not of a file"),
    replies(&["TYPE"], "*", "500", "RFC 959 section 5.4: a missing argument is no unknown command"),
    replies(&["TYPE Q", "TYPE E"], "504", "500", "504 is for a known command with an unknown argument"),
    replies(&["RETR"], "501", "425", "a missing argument is seen before the missing data connection"),
    replies(&["REST -1*", "REST x*", "REST", "REST (TYPE A)"], "501", "350", "vsftpd does not look at the argument"),
    replies(&["SITE*"], "*", "550", "vsftpd refuses SITE to its guests"),
    replies(&["EPRT x", "EPRT |*", "PORT *"], "5*", "500", "501 is for an argument that is not understood"),
    replies(&["LIST *", "STOR *", "RETR *"], "425", "*", "the missing data connection is seen before the name"),
    // Names.
    replies(
        &["*../*", "*.."],
        "550",
        "*",
        "a name above the root is as absent as any other; vsftpd takes the root for it",
    )
    .apart(),
    replies(&["* ~", "* ~ (*"], "*", "*", "a tilde is a name like any other").apart(),
    replies(&["STOU *"], "150 226", "553", "a name behind STOU is not taken"),
    replies(
        &["RETR *(REST)"],
        "554",
        "150 226",
        "RFC 3659 section 5.3: an offset behind the end of the file is refused",
    ),
    replies(&["* a/", "* a/ (*"], "*", "55*", "a slash behind a name is dropped, on every door").apart(),
    replies(
        &["*CWD d/.."],
        "250",
        "550",
        "`..` takes a name away from the path before a disk is asked, so that a path means the same on every door",
    )
    .apart(),
    replies(
        &["STOR *", "APPE *"],
        "550",
        "553",
        "what the tree refuses has one code for all commands; clients look at the first digit",
    ),
    replies(
        &["STOR *(REST)"],
        "550",
        "150 226",
        "an upload that would begin behind the end of the file is refused: nobody sent what would be between",
    )
    .apart(),
    replies(
        &["LIST *", "NLST *"],
        "550",
        "150 226",
        "vsftpd lists nothing where there is nothing: a client would take that for an empty folder",
    ),
    replies(&["MDTM *"], "213", "550", "folders have a time too"),
    replies(&["STAT *"], "212", "213", "RFC 959 section 5.4: 212 is for folders"),
    replies(&["STAT *"], "550", "213", "vsftpd lists nothing where there is nothing"),
    // Order.
    replies(&["RNTO *"], "503", "250", "RFC 959 section 4.1.3: RNTO comes right behind RNFR").apart(),
    replies(&["RNTO *"], "503", "550", "RFC 959 section 4.1.3: RNTO comes right behind RNFR"),
    // Data.
    replies(
        &["REST 2 (TYPE A)", "REST 99 (TYPE A)"],
        "501",
        "350",
        "an offset means bytes, and those of TYPE A are none of the file's",
    )
    .apart(),
    other(&["SIZE *(TYPE A)"], What::Words, "RFC 3659 section 4: the size is that of what would be transferred"),
    other(&["LIST d/*", "NLST d/*"], What::Data, "vsftpd takes a pattern for names below it"),
    other(&["LIST* a/*", "NLST a/*"], What::Data, "a slash behind a name is dropped, on every door"),
    other(
        &["STOR *(REST BEFORE)", "APPE *(REST BEFORE)"],
        What::Files,
        "RFC 959 section 4.1.3: an offset is for the command right behind it",
    )
    .apart(),
    other(&["RETR *(REST BEFORE)"], What::Data, "RFC 959 section 4.1.3: an offset is for the command right behind it")
        .apart(),
];

/// `docs/ftp-differences.md`.
pub(super) fn page() -> String {
    let mut page = BEGINNING.to_owned();
    for (name, table) in [("libunftp 0.24", LIBUNFTP), ("vsftpd 3.0", VSFTPD)] {
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {name}\n\n| said | here | there | why |\n|---|---|---|---|\n");
        for Explained { lines, what, ours, theirs, why, .. } in table {
            let lines: Vec<_> = lines.iter().map(|line| format!("`{}`", line.replace('|', "\\|"))).collect();
            let (here, there) = match what {
                What::Replies => (any(ours), any(theirs)),
                What::Words => ("other words", "in the reply"),
                What::Data => ("other data", ""),
                What::Files => ("another file", ""),
            };
            let _ = writeln!(page, "| {} | {here} | {there} | {why} |", lines.join(", "));
        }
    }
    page
}

fn any(codes: &str) -> &str {
    if codes == "*" { "anything" } else { codes }
}

const BEGINNING: &str = "\
# Where this FTP server answers otherwise than others

Made from the table in `protocols/ftp/src/tests/differential/explained.rs`: do not edit it here. `make differential` holds ten
thousand sessions, made by chance from a number, with this server and with two others that are trusted, and compares the
codes of replies, paths and sizes in them, listings (names, kinds, sizes), downloaded bytes, and the files afterwards. What
differs and is not in a table fails.

`*` in a line is anything, in a code any digits. `(TYPE A)` means that text was asked for before, `(REST)` that an offset was
said right before, `(REST BEFORE)` that one was said before another command. `closed` is the end of the connection, `silence`
none within three seconds.
";
