//! Which replies may follow which command: RFC 959 section 5.4, and the later ones for later commands.
//!
//! Only the good ones are told apart: a refusal says little about which command it answers.

/// Whether a reply with this code can be the last one to this verb.
pub fn may_answer(verb: &str, code: u16) -> bool {
    if code >= 400 {
        return true;
    }
    let good: &[u16] = match verb {
        "USER" => &[331],
        "PASS" | "ACCT" => &[230, 332],
        "AUTH" => &[234],
        "FEAT" => &[211],
        "HELP" => &[214],
        "SYST" => &[215],
        "NOOP" | "PBSZ" | "PROT" | "CLNT" | "LANG" | "OPTS" | "TYPE" | "MODE" | "STRU" | "PORT" | "EPRT" => &[200],
        "ALLO" => &[200, 202],
        "QUIT" => &[221],
        "REIN" | "HOST" => &[220],
        "CWD" | "XCWD" | "CDUP" | "XCUP" => &[200, 250],
        "PWD" | "XPWD" | "MKD" | "XMKD" => &[257],
        "RMD" | "XRMD" | "DELE" | "RNTO" | "MLST" => &[250],
        "RNFR" | "REST" | "RANG" => &[350],
        "SIZE" | "MDTM" | "MFMT" | "MFF" | "HASH" | "AVBL" => &[213],
        "LIST" | "NLST" | "MLSD" | "RETR" | "STOR" | "APPE" | "STOU" => &[226, 250],
        "PASV" => &[227],
        "EPSV" => &[229, 200],
        "ABOR" => &[225, 226],
        "STAT" => &[211, 212, 213],
        "XCRC" | "XMD5" | "XSHA" | "XSHA1" | "XSHA256" | "XSHA512" => &[250],
        "SITE" => &[200, 213, 214],
        _ => &[],
    };
    good.contains(&code)
}

/// Whether a stranger may hear this code.
pub fn may_be_told_to_a_stranger(code: u16) -> bool {
    match code {
        200 | 211 | 214 | 215 | 220 | 221 | 331 | 332 | 234 | 421 => true,
        // Refusals of the words themselves; those of the 550s speak of files, 52z of data connections.
        500..=504 | 530..=536 => true,
        _ => false,
    }
}

/// Whether a command of this verb runs beside the reading of lines, so that what comes meanwhile may be answered first.
pub fn takes_a_while(verb: &str) -> bool {
    matches!(
        verb,
        "LIST"
            | "NLST"
            | "MLSD"
            | "RETR"
            | "STOR"
            | "APPE"
            | "STOU"
            | "HASH"
            | "STAT"
            | "XCRC"
            | "XMD5"
            | "XSHA"
            | "XSHA1"
            | "XSHA256"
            | "XSHA512"
    )
}
