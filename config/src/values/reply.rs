//! Texts that FTP clients are shown: bounded, of plain lines, with variables that are known.
//!
//! A text is one reply, so nothing in it may end a line but its own line ends, and a variable that is misspelt would be shown
//! to everybody as it stands.

use super::{Kind, Mistake};
use crate::error::shorten;

/// The lines of one text. CrushFTP writes line ends as `\n` and `\r`, two characters each; both ways are understood.
pub(super) fn reply(text: &str, variables: &[&str]) -> Result<String, Mistake> {
    let unfit = |advice: String| Mistake::advise(Kind::Reply(&[]).expected(), advice);
    let text = text.replace("\\r", "").replace("\\n", "\n").replace('\r', "");
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    if lines.len() > MOST_LINES {
        return Err(unfit(format!("it has {} lines: at most {MOST_LINES}", lines.len())));
    }
    if let Some(line) = lines.iter().find(|line| line.len() > LONGEST_LINE) {
        return Err(unfit(format!("the line {:?} is longer than {LONGEST_LINE} bytes", shorten(line))));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(unfit("remove the control characters".into()));
    }
    for part in text.split('{').skip(1) {
        let Some((name, _)) = part.split_once('}') else { continue };
        let looks = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if looks && !variables.contains(&name) {
            let known = variables.join("}, {");
            return Err(unfit(format!("{{{}}} is no variable here; there are {{{known}}}", shorten(name))));
        }
    }
    Ok(lines.join("\n"))
}

/// Lines of one text.
const MOST_LINES: usize = 40;
/// Bytes of one line: with the longest name in it, less than clients take.
const LONGEST_LINE: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_however_they_were_written() {
        assert_eq!(reply(" Welcome \r\n\r\n {here} and {x\n", &["here"]).unwrap(), "Welcome\n\n {here} and {x");
        assert_eq!(reply("one\\r\\ntwo", &[]).unwrap(), "one\ntwo");
        assert_eq!(reply("{\"json\": true}", &[]).unwrap(), "{\"json\": true}");
    }

    #[test]
    fn what_is_unknown_endless_or_no_text_is_refused() {
        assert!(reply("{user_nmae}", &["user_name"]).unwrap_err().advice.unwrap().contains("{user_name}"));
        for text in ["a\u{1b}[2J", "a\u{85}b", &"a\n".repeat(41), &"a".repeat(401)] {
            assert!(reply(text, &[]).is_err(), "{text:?}");
        }
    }
}
