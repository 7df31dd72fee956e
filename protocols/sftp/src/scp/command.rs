//! The command line that scp sends, taken apart without a shell.
//!
//! Quotes and backslashes mean what a POSIX shell makes of them, since clients quote for one; nothing else means anything.

/// What a client wants of scp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Which way.
    pub(crate) direction: Direction,
    /// Whether folders go along (`-r`).
    pub(crate) recursive: bool,
    /// Whether times and modes are kept (`-p`).
    pub(crate) preserve: bool,
    /// Whether the target must be a folder (`-d`).
    pub(crate) into_folder: bool,
    /// The paths: one to receive into, one or more to send.
    pub(crate) paths: Vec<Word>,
}

/// Which way the files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// `-t`: from the client.
    Receive,
    /// `-f`: to the client.
    Send,
}

/// One word of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its bytes, quoting undone.
    pub(crate) bytes: Vec<u8>,
    /// Whether a `*` or `?` stood in it unquoted.
    pub(crate) is_pattern: bool,
}

impl Plan {
    /// Understands `command`; `None` where it is not one that scp sends.
    pub(crate) fn parse(command: &[u8]) -> Option<Self> {
        let mut words = split(command)?.into_iter();
        if words.next()?.bytes != b"scp" {
            return None;
        }
        let (mut directions, mut recursive, mut preserve, mut into_folder) = (Vec::new(), false, false, false);
        let mut paths = Vec::new();
        let mut options = true;
        for word in words {
            match word.bytes.as_slice() {
                b"--" if options => options = false,
                [b'-', letters @ ..] if options && !letters.is_empty() => {
                    for letter in letters {
                        match letter {
                            b't' => directions.push(Direction::Receive),
                            b'f' => directions.push(Direction::Send),
                            b'r' => recursive = true,
                            b'p' => preserve = true,
                            b'd' => into_folder = true,
                            b'v' | b'q' => {}
                            _ => return None,
                        }
                    }
                }
                _ => {
                    options = false;
                    paths.push(word);
                }
            }
        }
        let &[direction] = directions.as_slice() else { return None };
        let fits = match direction {
            Direction::Receive => paths.len() == 1,
            Direction::Send => (1..=MOST_PATHS).contains(&paths.len()),
        };
        fits.then_some(Self { direction, recursive, preserve, into_folder, paths })
    }
}

/// The words of `line`; `None` for a line with an open quote, a NUL or a line break, or that is far too long.
fn split(line: &[u8]) -> Option<Vec<Word>> {
    if line.len() > LONGEST || line.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r')) {
        return None;
    }
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' => words.extend(word.take()),
            b'\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next()? {
                        b'\'' => break,
                        inner => word.bytes.push(inner),
                    }
                }
            }
            b'"' => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next()? {
                        b'"' => break,
                        b'\\' => match bytes.next()? {
                            escaped @ (b'"' | b'\\' | b'$' | b'`') => word.bytes.push(escaped),
                            other => word.bytes.extend([b'\\', other]),
                        },
                        inner => word.bytes.push(inner),
                    }
                }
            }
            b'\\' => word.get_or_insert_default().bytes.push(bytes.next()?),
            plain => {
                let word = word.get_or_insert_default();
                word.is_pattern |= matches!(plain, b'*' | b'?');
                word.bytes.push(plain);
            }
        }
    }
    words.extend(word);
    Some(words)
}

/// Whether `name` fits `pattern`, in which `*` stands for any bytes and `?` for one. A leading dot must be written.
pub(super) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == name.get(n) => {
                p += 1;
                n += 1;
            }
            // The last star takes one byte more.
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// The longest command line.
const LONGEST: usize = 16 << 10;
/// Paths of one command.
const MOST_PATHS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        let words = split(line.as_bytes()).unwrap();
        words.into_iter().map(|word| String::from_utf8(word.bytes).unwrap()).collect()
    }

    #[test]
    fn quoting_is_undone_and_nothing_is_expanded() {
        assert_eq!(words(r#"scp -t 'a b'\ c"d \"e\"""#), ["scp", "-t", r#"a b cd "e""#]);
        assert_eq!(words("scp -f $HOME/`id`;rm ''"), ["scp", "-f", "$HOME/`id`;rm", ""]);
        assert_eq!(split(b"scp 'open"), None);
        assert_eq!(split(b"scp -t a\nid"), None);
    }

    #[test]
    fn only_what_scp_sends_is_a_plan() {
        let plan = Plan::parse(b"scp -r -p -d -t -- -odd").unwrap();
        assert!(plan.recursive && plan.preserve && plan.into_folder);
        assert_eq!((plan.direction, plan.paths[0].bytes.as_slice()), (Direction::Receive, &b"-odd"[..]));
        assert!(Plan::parse(b"scp -f '*' *.txt").unwrap().paths[1].is_pattern);
        assert!(!Plan::parse(b"scp -f '*'").unwrap().paths[0].is_pattern);
        for line in [
            "",
            "scp",
            "scp -t",
            "scp -t a b",
            "scp -t -f a",
            "scp -S /bin/sh -t a",
            "sh -c id",
            "/bin/scp -t a",
            "scp -t a;id b",
        ] {
            assert_eq!(Plan::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name) in [("*", "a"), ("*.txt", "a.txt"), ("a?c*", "abcd"), ("a*b*c", "aXbYbZc"), (".*", ".a")] {
            assert!(fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in [("*", ".a"), ("*.txt", "a.txtx"), ("a?", "a"), ("", "a"), ("a*b", "aXc")] {
            assert!(!fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_plan_or_none(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(plan) = Plan::parse(&line) {
                prop_assert!(!plan.paths.is_empty());
            }
        }

        #[test]
        fn a_quoted_word_comes_back_as_it_was(word in "[^\\x00\r\n]{0,40}") {
            let quoted = format!("scp -t -- '{}'", word.replace('\'', r"'\''"));
            prop_assert_eq!(&Plan::parse(quoted.as_bytes()).unwrap().paths[0].bytes, word.as_bytes());
        }

        #[test]
        fn a_pattern_ends_in_reasonable_time(pattern in "[a*?]{0,40}", name in "[ab]{0,200}") {
            let _ = fits(pattern.as_bytes(), name.as_bytes());
        }
    }
}
