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
    /// The lines, with `*` for anything and `\*` for a star. Behind a line stands in brackets what makes it mean something
    /// else: `(TYPE A)`, `(REST)`. Without brackets it is meant with any of them.
    pub(super) lines: &'static [&'static str],
    pub(super) what: What,
    /// The codes here; for other things than replies nothing.
    pub(super) ours: &'static str,
    /// The codes there.
    pub(super) theirs: &'static str,
    pub(super) why: &'static str,
    /// Whether the two are apart after it, so that the rest of a session must begin anew.
    pub(super) apart: bool,
    /// Whether the first ten thousand sessions do without it.
    pub(super) rare: bool,
}

impl Explained {
    /// After it the two are apart.
    const fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Other sessions than the first ten thousand have met it.
    const fn rare(mut self) -> Self {
        self.rare = true;
        self
    }
}

const fn replies(
    lines: &'static [&'static str],
    ours: &'static str,
    theirs: &'static str,
    why: &'static str,
) -> Explained {
    Explained { lines, what: What::Replies, ours, theirs, why, apart: false, rare: false }
}

const fn other(lines: &'static [&'static str], what: What, why: &'static str) -> Explained {
    Explained { lines, what, ours: "", theirs: "", why, apart: false, rare: false }
}

const STRANGERS: &str = "strangers are told what needs no login, and that a word is none";
const NO_ARGUMENT: &str = "what stands behind a command that has no argument is not looked at";
const NO_NAME: &str = "no name is no name";
const TURN: &str = "a command out of turn";
const RENAMING: &str = "RFC 959 section 4.1.3: RNTO comes right behind RNFR";
const OFFSET: &str = "RFC 959 section 4.1.3: an offset is for the command right behind it";
const OFFSET_IN_TEXT: &str = "an offset means bytes, and those of TYPE A are none of the file's";
const BEHIND_THE_END: &str = "RFC 3659 section 5.3: an offset behind the end of the file is refused";
const ROOT: &str = "libunftp takes the name for one of the root, whatever the folder";
const ABOVE: &str = "a name above the root is as absent as any other";
const ABOVE_TAKEN: &str = "a name above the root is as absent as any other; vsftpd takes the root for it";
const TILDE: &str = "a tilde is a name like any other";
const SLASH: &str = "a slash behind a name is dropped, on every door";
const DOTS: &str =
    "`..` takes a name away from the path before a disk is asked, so that a path means the same on every door";
const MISSING: &str = "a missing argument is a fault of the line, not of a file";
const NO_X: &str = "libunftp has neither XCUP nor XRMD (RFC 1123 section 4.1.3.1 wants them)";
const NO_SITE: &str = "libunftp has no SITE commands but its own";
const SITE_REFUSED: &str = "vsftpd refuses SITE to its guests";
const NO_FACTS: &str = "vsftpd has neither MLSD nor MLST";
const BOUNCE: &str = "RFC 2577 section 3: data goes to the client's own address and to no port of a service; libunftp calls \
                      whom it is told, and says that nobody answered";
const ALL_OF_IT: &str = "vsftpd lists nothing where there is nothing: a client would take that for an empty folder";

/// libunftp 0.24, over the same tree.
pub(super) const LIBUNFTP: &[Explained] = &[
    // What strangers may say.
    replies(&["SYST"], "215", "530", STRANGERS),
    replies(&["REIN"], "220", "530", STRANGERS),
    replies(&["XYZZY"], "500", "530", STRANGERS),
    replies(&["ACCT x"], "503", "530", "no account was asked for: a command out of turn"),
    replies(&["USER alice", "USER bob"], "331", "503", "a name may be said again until a password came").apart(),
    replies(&["USER"], "501", "331", NO_NAME),
    replies(&["USER"], "501", "503", NO_NAME),
    replies(&["PASS", "PASS right", "PASS wrong"], "503", "530", TURN),
    replies(&["PASS right"], "503", "230", TURN).apart().rare(),
    replies(&["PBSZ 0"], "503", "200", "RFC 4217 section 9: PBSZ is for connections under TLS"),
    replies(&["PROT C", "PROT P"], "503", "502", "RFC 4217 section 9: PROT comes after PBSZ"),
    replies(
        &["CCC"],
        "533",
        "502",
        "RFC 4217 section 6: 533 is the refusal of a server that keeps the connection protected",
    ),
    // Words.
    replies(
        &["CWD", "MKD", "DELE", "RNFR", "SIZE", "RETR (NO DATA)", "OPTS NOPE", "REST", "REST -1", "REST x"],
        "501",
        "501 closed",
        "libunftp ends the connection behind an argument that it cannot parse",
    ),
    replies(
        &["AUTH NOPE", "MODE X", "STRU X"],
        "504",
        "501 closed",
        "504 is for a known command with an unknown argument",
    ),
    replies(&["CDUP x"], "250", "501 closed", NO_ARGUMENT),
    replies(&["NOOP x"], "200", "501 closed", NO_ARGUMENT),
    replies(&["PWD x"], "257", "501 closed", NO_ARGUMENT),
    replies(&["PASV x"], "227", "501 closed", NO_ARGUMENT),
    replies(&["REIN"], "220", "500", "libunftp has no REIN").apart(),
    replies(&["HOST x"], "503", "500", "libunftp has no HOST; here it comes before USER (RFC 7151 section 3.2)"),
    replies(&["CLNT x", "LANG EN"], "200", "500", "libunftp has neither"),
    replies(&["SMNT x"], "502", "500", "a command of RFC 959 that is not there: 502"),
    replies(&["XCUP", "XRMD *"], "250", "500", NO_X).apart(),
    replies(&["XRMD *"], "550", "500", NO_X),
    replies(&["SITE HELP"], "214", "502", NO_SITE),
    replies(&["SITE", "SITE NOPE"], "504", "502", NO_SITE),
    replies(&["SITE CHMOD 999 *"], "501", "502", NO_SITE),
    replies(&["SITE CHMOD 640 *"], "200", "502", NO_SITE),
    replies(&["SITE CHMOD 640 *"], "550", "502", NO_SITE),
    replies(&["ALLO *"], "200", "202", "the number is looked at when the file comes, so it is not superfluous"),
    replies(&["ALLO", "ALLO x"], "501", "202", "libunftp does not look at the argument"),
    replies(&["TYPE"], "501", "200", "libunftp takes any TYPE and sends images"),
    replies(&["TYPE E", "TYPE Q"], "504", "200", "libunftp takes any TYPE and sends images"),
    replies(&["EPSV 2", "EPSV 9"], "522", "229", "libunftp does not look at the family"),
    // Names.
    replies(
        &["APPE *", "STOR *", "RETR *", "LIST *", "NLST *", "MLSD *"],
        "550",
        "150 550",
        "a name is looked at before a data connection is opened for it",
    ),
    replies(
        &["APPE *..*", "STOR *..*", "RETR *..*", "LIST *..*", "MLSD *..*"],
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
            "RNTO *..*",
            "SIZE *..*",
            "MDTM *..*",
        ],
        "550",
        "553",
        ABOVE,
    ),
    replies(
        &["LIST* \\*", "LIST* \\*e\\*", "LIST* d/\\*", "LIST* ?", "NLST \\*", "NLST \\*e\\*", "NLST d/\\*", "NLST ?"],
        "150 226",
        "150 550",
        "libunftp knows no patterns",
    ),
    replies(&["NLST -l*"], "150 226", "150 550", "switches of ls are skipped"),
    replies(&["MLSD *"], "550", "150 226", "RFC 3659 section 7.2: MLSD is for folders"),
    replies(&["MLST *"], "250", "550", ROOT),
    replies(&["MLST *"], "550", "250", ROOT),
    replies(&["SIZE *"], "550", "213", "a folder has no size that could be transferred (RFC 3659 section 4)"),
    replies(&["STAT *"], "212", "200", "RFC 959 section 5.4: STAT with a name answers 212 or 213"),
    replies(&["STAT *"], "213", "200", "RFC 959 section 5.4: STAT with a name answers 212 or 213"),
    replies(&["STAT *"], "550", "200", ROOT),
    replies(&["STAT \\*", "STAT \\*e\\*", "STAT d/\\*", "STAT ?"], "212", "451", "libunftp knows no patterns"),
    replies(&["STAT -l*"], "212", "451", "switches of ls are skipped"),
    replies(&["STAT *"], "212", "451", ROOT),
    replies(&["STAT *"], "213", "451", ROOT),
    replies(&["STAT *"], "550", "451", "RFC 959 section 5.4 has 450 and 550 for a name that is not there"),
    replies(&["STOU *"], "550", "501 closed", "a name behind STOU is not taken: the folder is gone").rare(),
    replies(&["STOU *"], "150 226", "501 closed", "a name behind STOU is not taken, but no reason to refuse"),
    // Order.
    replies(&["RNTO *"], "503", "250", RENAMING).apart(),
    replies(&["RNTO *"], "503", "450", "RFC 959 section 5.4 has no 450 for RNTO, and 503 for a command out of turn"),
    replies(&["RNTO *"], "503", "550", RENAMING),
    replies(&["RNTO *..*"], "503", "553", RENAMING),
    // Data.
    replies(&["EPRT"], "200", "500", "libunftp has no EPRT"),
    replies(&["EPRT x", "EPRT |1|127.0.0.2|1025|"], "501", "500", "libunftp has no EPRT"),
    replies(&["EPRT |1|127.0.0.1|1|"], "504", "500", "libunftp has no EPRT"),
    replies(&["EPRT |2|::1|1025|", "EPRT |3|x|1|"], "522", "500", "libunftp has no EPRT"),
    replies(&["PORT 127,0,0,2,4,1"], "501", "425", BOUNCE),
    replies(&["PORT 127,0,0,1,0,1"], "504", "425", BOUNCE),
    replies(&["RETR *(TYPE A) (REST)", "STOR *(TYPE A) (REST)"], "554", "150 226", OFFSET_IN_TEXT).apart(),
    replies(&["RETR *(TYPE A) (REST)", "STOR *(TYPE A) (REST)"], "554", "150 550", OFFSET_IN_TEXT),
    replies(&["RETR *..*(TYPE A) (REST)"], "554", "150 553", OFFSET_IN_TEXT),
    replies(&["RETR *(REST)"], "554", "150 226", BEHIND_THE_END),
    replies(
        &["STOU (REST)", "STOU (TYPE A) (REST)"],
        "150 226",
        "150 550",
        "a new file has no place for an offset: it is not looked at",
    )
    .apart(),
    other(&["NLST -l*"], What::Data, "switches of ls are skipped; libunftp takes them for a name"),
    other(&["RETR *(REST BEFORE)"], What::Data, OFFSET).apart(),
    other(&["STOR *(REST BEFORE)", "APPE *(REST BEFORE)"], What::Files, OFFSET).apart(),
    replies(
        &["STOR *(REST BEFORE)", "STOU (REST BEFORE)", "STOU (TYPE A) (REST BEFORE)"],
        "150 226",
        "150 550",
        OFFSET,
    )
    .apart(),
    replies(&["REST 2 (TYPE A)", "REST 99 (TYPE A)"], "501", "350", OFFSET_IN_TEXT).apart(),
    other(&["CWD *", "XCWD *"], What::Words, "libunftp keeps dots and slashes in paths").apart(),
    other(&["RETR *(TYPE A)*"], What::Data, "libunftp sends files as they are in TYPE A too"),
    other(&["STOR *(TYPE A)*", "APPE *(TYPE A)*"], What::Files, "libunftp stores what comes as it is in TYPE A too")
        .apart(),
    other(&["SIZE *(TYPE A)"], What::Words, "RFC 3659 section 4: the size is that of what would be transferred"),
];

/// vsftpd 3, for anonymous users with every right.
pub(super) const VSFTPD: &[Explained] = &[
    // What strangers may say.
    replies(&["SYST"], "215", "530", STRANGERS),
    replies(&["HELP"], "214", "530", STRANGERS),
    replies(&["REIN"], "220", "530", STRANGERS),
    replies(&["XYZZY"], "500", "530", STRANGERS),
    replies(&["NOOP"], "200", "530", STRANGERS),
    replies(&["USER"], "501", "530", STRANGERS),
    replies(&["ACCT x", "PBSZ 0"], "503", "530", STRANGERS),
    replies(&["USER bob"], "331", "530", "which names there are is not told (here vsftpd knows one only)"),
    replies(
        &["USER alice", "USER bob"],
        "503",
        "530",
        "a user who has logged in is one until REIN: a command out of turn",
    ),
    replies(&["PASS right", "PASS wrong"], "503", "230", TURN).apart(),
    replies(&["PASS right"], "230", "503", "a USER without a name does not take the name before it away")
        .apart()
        .rare(),
    replies(&["PASS wrong"], "503", "530", "a command out of turn: REIN has forgotten the name"),
    replies(
        &["PASS", "PASS right", "PASS wrong"],
        "530",
        "503",
        "a USER without a name does not take the name before it away",
    ),
    // Words.
    replies(&["ABOR"], "226", "225", "RFC 959 section 4.1.3 has 226 also where no transfer is under way"),
    replies(&["ACCT x"], "503", "502", "no account was asked for: a command out of turn"),
    replies(&["ALLO *"], "200", "202", "the number is looked at when the file comes, so it is not superfluous"),
    replies(&["ALLO", "ALLO x"], "501", "202", "vsftpd does not look at the argument"),
    replies(&["AUTH NOPE"], "504", "500", "504 is for a known command with an unknown argument"),
    replies(&["CCC"], "533", "500", "vsftpd has no CCC"),
    replies(&["PBSZ 0", "PROT C", "PROT P"], "503", "550", "RFC 4217 section 9: a command out of turn outside of TLS"),
    replies(&["CLNT x", "LANG EN"], "200", "500", "vsftpd has neither"),
    replies(&["HOST x"], "503", "500", "vsftpd has no HOST; here it comes before USER (RFC 7151 section 3.2)"),
    replies(&["REIN"], "220", "502", "vsftpd has no REIN").apart(),
    replies(&["MLSD", "MLSD *"], "150 226", "500", NO_FACTS),
    replies(&["MLSD *"], "550", "500", NO_FACTS),
    replies(&["MLST", "MLST *"], "250", "500", NO_FACTS),
    replies(&["MLST *"], "550", "500", NO_FACTS),
    replies(&["CWD", "MKD", "DELE", "RNFR", "SIZE"], "501", "550", MISSING),
    replies(&["TYPE"], "501", "500", "RFC 959 section 5.4: a missing argument is no unknown command"),
    replies(&["TYPE E", "TYPE Q"], "504", "500", "504 is for a known command with an unknown argument"),
    replies(&["RETR (NO DATA)"], "501", "425", "a missing argument is seen before the missing data connection"),
    replies(&["REST", "REST -1", "REST x"], "501", "350", "vsftpd does not look at the argument, and takes it for 0")
        .apart(),
    replies(&["SITE HELP"], "214", "550", SITE_REFUSED),
    replies(&["SITE", "SITE NOPE"], "504", "550", SITE_REFUSED),
    replies(&["SITE CHMOD 999 *"], "501", "550", SITE_REFUSED),
    replies(&["SITE CHMOD 640 *"], "200", "550", SITE_REFUSED),
    replies(
        &["EPRT x", "EPRT |1|127.0.0.2|1025|", "PORT 127,0,0,2,4,1", "PORT 1,2,3", "PORT 127,0,0,1,200,999"],
        "501",
        "500",
        "501 is for an argument that is not understood",
    ),
    replies(
        &["EPRT |1|127.0.0.1|1|", "PORT 127,0,0,1,0,1"],
        "504",
        "500",
        "RFC 2577 section 3: 504 refuses the port of a service",
    ),
    replies(
        &["EPRT |2|::1|1025|", "EPRT |3|x|1|"],
        "522",
        "500",
        "RFC 2428 section 2: 522 tells which families there are",
    ),
    // Names.
    replies(&["STOR *(TYPE A) (REST)"], "554", "150 226", OFFSET_IN_TEXT).apart(),
    replies(&["RETR *(TYPE A) (REST)"], "554", "550", OFFSET_IN_TEXT),
    replies(&["STOR *(TYPE A) (REST)"], "554", "553", OFFSET_IN_TEXT),
    replies(&["*../*", "*.."], "550", "150 226", ABOVE_TAKEN).apart(),
    replies(&["CWD ..", "CWD ../..", "XCWD ..", "XCWD ../..", "DELE ../a"], "550", "250", ABOVE_TAKEN).apart(),
    replies(&["MKD ../a"], "550", "257", ABOVE_TAKEN).apart(),
    replies(&["MDTM ../a", "SIZE ../a"], "550", "213", ABOVE_TAKEN),
    replies(&["RNTO ../a"], "550", "250", ABOVE_TAKEN).apart().rare(),
    replies(&["RMD ."], "250", "550", DOTS).apart().rare(),
    replies(&["RNFR *..*"], "550", "350", ABOVE_TAKEN).apart(),
    replies(&["CWD ~", "XCWD ~"], "550", "250", TILDE).apart(),
    replies(&["RNFR ~"], "550", "350", TILDE).apart(),
    replies(&["MKD ~", "XMKD ~"], "257", "550", TILDE).apart(),
    replies(&["RNTO ~"], "250", "550", TILDE).apart(),
    replies(&["STOR ~", "APPE ~"], "150 226", "553", TILDE).apart(),
    replies(&["STOU *"], "150 226", "553", "a name behind STOU is not taken"),
    replies(&["RETR *(REST)"], "554", "150 226", BEHIND_THE_END),
    replies(&["STOR */", "APPE */"], "150 226", "553", SLASH).apart(),
    replies(&["RETR */"], "150 226", "550", SLASH).apart(),
    replies(&["RETR */ (REST)"], "554", "550", SLASH),
    replies(&["DELE */", "RNTO */"], "250", "550", SLASH).apart(),
    replies(&["RNFR */"], "350", "550", SLASH).apart(),
    replies(&["MDTM a/", "SIZE */"], "213", "550", SLASH),
    replies(&["STOR d/../a", "APPE d/../a"], "150 226", "553", DOTS).apart(),
    replies(&["RETR d/../a"], "150 226", "550", DOTS).apart(),
    replies(&["* d/..*"], "250", "550", DOTS).apart(),
    replies(&["*MKD d/../a"], "257", "550", DOTS).apart(),
    replies(&["RNFR d/..*"], "350", "550", DOTS).apart(),
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
    replies(&["LIST *", "NLST *"], "550", "150 226", ALL_OF_IT),
    replies(&["MDTM *"], "213", "550", "folders have a time too"),
    replies(&["STAT *"], "212", "213", "RFC 959 section 5.4: 212 is for folders"),
    replies(&["STAT *"], "550", "213", ALL_OF_IT),
    // Order.
    replies(&["RNTO *"], "503", "250", RENAMING).apart(),
    replies(&["RNTO *"], "503", "550", RENAMING),
    // Data.
    replies(&["REST 2 (TYPE A)", "REST 99 (TYPE A)"], "501", "350", OFFSET_IN_TEXT).apart(),
    replies(&["RETR *(TYPE A) (REST BEFORE)"], "150 226", "550", OFFSET).apart(),
    other(&["SIZE *(TYPE A)"], What::Words, "RFC 3659 section 4: the size is that of what would be transferred"),
    other(
        &["LIST* \\*", "LIST* \\*e\\*", "LIST* ?", "NLST \\*", "NLST \\*e\\*", "NLST ?"],
        What::Data,
        "a name that is there is no pattern",
    ),
    other(&["LIST* d/\\*", "NLST d/\\*"], What::Data, "vsftpd takes a pattern for names below it"),
    other(&["LIST -la -l*", "NLST -l*"], What::Data, "switches of ls are skipped"),
    other(&["LIST* a/", "NLST a/"], What::Data, SLASH),
    other(&["LIST* d/..*", "NLST d/..*"], What::Data, DOTS),
    other(&["STOR *(REST BEFORE)"], What::Files, OFFSET).apart(),
    other(&["RETR *(REST BEFORE)"], What::Data, OFFSET).apart(),
];

/// `docs/ftp-differences.md`.
pub(super) fn page() -> String {
    let mut page = BEGINNING.to_owned();
    for (name, table) in [("libunftp 0.24", LIBUNFTP), ("vsftpd 3.0", VSFTPD)] {
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {name}\n\n| said | here | there | why |\n|---|---|---|---|\n");
        for Explained { lines, what, ours, theirs, why, rare, .. } in table {
            let lines: Vec<_> = lines.iter().map(|line| format!("`{}`", line.replace('|', "\\|"))).collect();
            let (here, there) = match what {
                What::Replies => (*ours, *theirs),
                What::Words => ("other words", "in the reply"),
                What::Data => ("other data", ""),
                What::Files => ("another file", ""),
            };
            let _ = writeln!(
                page,
                "| {} | {here} | {there} | {why}{} |",
                lines.join(", "),
                if *rare { " (rare)" } else { "" }
            );
        }
    }
    page
}

const BEGINNING: &str = "\
# Where this FTP server answers otherwise than others

Made from the table in `protocols/ftp/src/tests/differential/explained.rs`: do not edit it here. `make differential` holds ten
thousand sessions, made by chance from a number, with this server and with two others that are trusted, and compares the
codes of replies, paths and sizes in them, listings (names, kinds, sizes), downloaded bytes, and the files afterwards. What
differs and is not in a table fails, and so does a reply of this server that does not come.

Sessions 0 to 9,999 pass with both (`make differential`), and need each line that is not marked as rare. The rare ones come from
sessions 1,000,000 to 1,009,999 (`make differential FIRST=1000000`). The first hundred are part of every test run.

`*` in a line is anything, `\\*` a star. `(TYPE A)` means that text was asked for before, `(REST)` that an offset was said right
before, `(REST BEFORE)` that one was said before another command, `(NO DATA)` that no data connection was made; a line without
such a word is meant with any of them. Where several rows fit the first counts. `closed` is the end of the connection.
";
