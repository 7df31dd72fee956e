//! Replies as RFC 959 section 4.2 has them, read by somebody who forgives nothing.

/// One whole reply.
#[derive(Debug, Clone)]
pub struct Reply {
    pub code: u16,
    /// Its lines, without their ends.
    pub lines: Vec<String>,
}

impl Reply {
    /// Whether it only announces another one (1yz).
    pub fn is_preliminary(&self) -> bool {
        self.code < 200
    }
}

/// Bytes of a control connection, taken apart into replies.
#[derive(Default)]
pub struct Replies {
    came: Vec<u8>,
}

impl Replies {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.came.extend_from_slice(bytes);
        assert!(self.came.len() < 1 << 20, "a reply of more than a mebibyte");
    }

    /// Whether nothing is left over.
    pub fn is_empty(&self) -> bool {
        self.came.is_empty()
    }

    /// What is left over, for a message.
    pub fn rest(&self) -> String {
        self.came.escape_ascii().to_string()
    }

    /// The next whole reply.
    ///
    /// # Panics
    /// Where the bytes are no reply.
    pub fn next_reply(&mut self) -> Option<Reply> {
        let (mut lines, mut at) = (Vec::<String>::new(), 0);
        loop {
            let length = self.came[at..].iter().position(|byte| *byte == b'\n')?;
            let line = line(&self.came[at..=at + length]);
            at += length + 1;
            let first = lines.is_empty();
            let code = code(&line);
            lines.push(line);
            let line = &lines[lines.len() - 1];
            if first {
                assert!(code.is_some(), "a reply begins without a code: {line:?}");
                assert!(matches!(line.as_bytes().get(3), Some(b' ' | b'-')), "no blank behind the code: {line:?}");
            }
            let ends = line.as_bytes().get(3) == Some(&b' ') && code.is_some();
            if ends {
                let code = code.unwrap_or_default();
                assert!(lines[0].starts_with(&format!("{code:03}")), "ends with another code: {lines:?}");
                self.came.drain(..at);
                return Some(Reply { code, lines });
            }
        }
    }
}

/// A line of printable text that ends in CR LF.
fn line(bytes: &[u8]) -> String {
    let text =
        bytes.strip_suffix(b"\r\n").unwrap_or_else(|| panic!("no CR LF: {:?}", bytes.escape_ascii().to_string()));
    let text = std::str::from_utf8(text).unwrap_or_else(|_| panic!("not UTF-8: {:?}", text.escape_ascii().to_string()));
    assert!(!text.chars().any(char::is_control), "a control character: {text:?}");
    text.to_owned()
}

fn code(line: &str) -> Option<u16> {
    let digits = line.as_bytes().get(..3)?;
    let code = digits.iter().all(u8::is_ascii_digit).then(|| line[..3].parse().ok()).flatten()?;
    (100..600).contains(&code).then_some(code)
}
