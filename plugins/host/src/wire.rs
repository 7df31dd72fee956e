//! What server and worker say to each other: bounded frames of a length and a body.
//!
//! Both ends are of the same program, but a plugin lives in the worker's memory and may write what it likes to the
//! socket. So the server reads a frame as it would read one from the network: every length is judged before it is used,
//! and a body that does not read exactly to its end is garbage.
//!
//! Never: a status or a role that is believed because of where it came from.

use std::io::{self, Read, Write};

use lockgate_plugin::abi;
use lockgate_plugin::exchange::{Fields, What};
use zeroize::Zeroizing;

/// Bytes that a frame's body may have: an answer of the largest size, with names and counts.
pub(crate) const MAX_FRAME: usize = 512 * 1024;

/// What the server asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Makes the instance; comes once, first.
    Open,
    /// Calls a function of the instance.
    Call(What),
}

/// From the server to the worker.
pub(crate) struct Request {
    /// Chosen by the server, said again in the answer.
    pub(crate) id: u64,
    pub(crate) ask: Ask,
    /// The server's clock: seconds since 1970 UTC.
    pub(crate) now: u64,
    pub(crate) fields: Fields,
}

/// What a plugin says about itself, as the worker read it from the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) settings: String,
    pub(crate) roles: u32,
    pub(crate) flags: u32,
    pub(crate) enrols: bool,
    /// How far the worker could shut itself in: `full`, `partial` or `none`.
    pub(crate) sandbox: String,
}

impl Description {
    /// What of it decides how the server treats the plugin, and is not as it was `first`.
    pub(crate) fn changed_since(&self, first: &Self) -> Option<&'static str> {
        if self.roles != first.roles {
            Some("roles")
        } else if self.flags != first.flags {
            Some("flags")
        } else if self.enrols != first.enrols {
            Some("way to enrol")
        } else if self.name != first.name {
            Some("name")
        } else {
            None
        }
    }
}

/// From the worker to the server.
#[derive(Debug)]
pub(crate) enum Report {
    /// The plugin is loaded. Comes once, first.
    Hello(Description),
    /// The plugin cannot be loaded, and why. Comes once, instead of `Hello`.
    Refused(String),
    /// The answer to a request.
    Answer { id: u64, status: i32, fields: Fields },
    /// A line for the log.
    Log { level: u32, text: String },
}

/// The body does not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Garbage;

impl Request {
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = start();
        out.extend(self.id.to_be_bytes());
        out.push(match self.ask {
            Ask::Open => 0,
            Ask::Call(What::Serves) => 1,
            Ask::Call(What::Enroll) => 2,
            Ask::Call(What::Begin) => 3,
            Ask::Call(What::Verify) => 4,
            Ask::Call(What::CheckPassword) => 5,
            Ask::Call(What::Event) => 6,
        });
        out.extend(self.now.to_be_bytes());
        put_fields(&mut out, &self.fields);
        finish(out)
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Garbage> {
        let mut rest = Reader(body);
        let id = rest.u64()?;
        let ask = match rest.u8()? {
            0 => Ask::Open,
            1 => Ask::Call(What::Serves),
            2 => Ask::Call(What::Enroll),
            3 => Ask::Call(What::Begin),
            4 => Ask::Call(What::Verify),
            5 => Ask::Call(What::CheckPassword),
            6 => Ask::Call(What::Event),
            _ => return Err(Garbage),
        };
        let request = Self { id, ask, now: rest.u64()?, fields: rest.fields()? };
        rest.end()?;
        Ok(request)
    }
}

impl Report {
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = start();
        match self {
            Self::Hello(said) => {
                out.push(1);
                out.extend(said.roles.to_be_bytes());
                out.extend(said.flags.to_be_bytes());
                out.push(u8::from(said.enrols));
                for text in [&said.name, &said.version, &said.summary, &said.settings, &said.sandbox] {
                    put_bytes(&mut out, text.as_bytes());
                }
            }
            Self::Refused(why) => {
                out.push(2);
                put_bytes(&mut out, why.as_bytes());
            }
            Self::Answer { id, status, fields } => {
                out.push(3);
                out.extend(id.to_be_bytes());
                out.extend(status.to_be_bytes());
                put_fields(&mut out, fields);
            }
            Self::Log { level, text } => {
                out.push(4);
                out.extend(level.to_be_bytes());
                put_bytes(&mut out, text.as_bytes());
            }
        }
        finish(out)
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, Garbage> {
        let mut rest = Reader(body);
        let report = match rest.u8()? {
            1 => {
                let (roles, flags) = (rest.u32()?, rest.u32()?);
                let enrols = match rest.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Garbage),
                };
                Self::Hello(Description {
                    roles,
                    flags,
                    enrols,
                    name: rest.text(64)?,
                    version: rest.text(64)?,
                    summary: rest.text(1024)?,
                    settings: rest.text(abi::MAX_VALUE)?,
                    sandbox: rest.text(16)?,
                })
            }
            2 => Self::Refused(rest.text(4096)?),
            3 => Self::Answer { id: rest.u64()?, status: i32::from_be_bytes(rest.array()?), fields: rest.fields()? },
            4 => Self::Log { level: rest.u32()?, text: rest.text(4096)? },
            _ => return Err(Garbage),
        };
        rest.end()?;
        Ok(report)
    }
}

/// The length that a frame's head says, or `None` where it is out of bounds.
pub(crate) fn body_length(head: [u8; 4]) -> Option<usize> {
    let length = u32::from_be_bytes(head) as usize;
    (1..=MAX_FRAME).contains(&length).then_some(length)
}

/// Reads one frame, blocking. `None` at the end between two frames.
///
/// # Errors
/// As the socket; `InvalidData` where the length is out of bounds.
pub(crate) fn read_frame(from: &mut impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut head = [0; 4];
    let mut got = 0;
    while let Some(free) = head.get_mut(got..).filter(|free| !free.is_empty()) {
        match from.read(free) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => got += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = body_length(head).ok_or(io::ErrorKind::InvalidData)?;
    let mut body = Zeroizing::new(vec![0; length]);
    from.read_exact(&mut body)?;
    Ok(Some(body))
}

/// Writes one encoded frame, blocking.
///
/// # Errors
/// As the socket.
pub(crate) fn write_frame(to: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    to.write_all(frame)
}

/// Room for the length, filled in by [`finish`].
fn start() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0; 4])
}

fn finish(mut frame: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    for (place, byte) in frame.iter_mut().zip(length.to_be_bytes()) {
        *place = byte;
    }
    frame
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(bytes);
}

fn put_fields(out: &mut Vec<u8>, fields: &Fields) {
    out.extend(u32::try_from(fields.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (name, value) in fields {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value);
    }
}

/// Reads a body from its beginning; what is not there is [`Garbage`].
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Garbage> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Garbage)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Garbage> {
        self.take(N)?.try_into().map_err(|_| Garbage)
    }

    fn u8(&mut self) -> Result<u8, Garbage> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Garbage> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Garbage> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn bytes(&mut self, max: usize) -> Result<&'a [u8], Garbage> {
        let length = self.u32()? as usize;
        if length > max { Err(Garbage) } else { self.take(length) }
    }

    fn text(&mut self, max: usize) -> Result<String, Garbage> {
        let bytes = self.bytes(max)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Garbage)
    }

    fn fields(&mut self) -> Result<Fields, Garbage> {
        let count = self.u32()? as usize;
        if count > abi::MAX_FIELDS {
            return Err(Garbage);
        }
        let mut fields = Fields::with_capacity(count);
        for _ in 0..count {
            let name = self.text(abi::MAX_NAME)?;
            fields.push((name, Zeroizing::new(self.bytes(abi::MAX_VALUE)?.to_vec())));
        }
        Ok(fields)
    }

    fn end(&self) -> Result<(), Garbage> {
        if self.0.is_empty() { Ok(()) } else { Err(Garbage) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Zeroizing<Vec<u8>> {
        let fields = vec![("used".to_owned(), Zeroizing::new(b"17".to_vec()))];
        Report::Answer { id: 7, status: abi::OK, fields }.encode()
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let frame = answer();
        let body = read_frame(&mut frame.as_slice()).unwrap().unwrap();

        let Ok(Report::Answer { id: 7, status: abi::OK, fields }) = Report::decode(&body) else {
            panic!("not an answer")
        };
        assert_eq!(fields, vec![("used".to_owned(), Zeroizing::new(b"17".to_vec()))]);
    }

    #[test]
    fn a_body_cut_anywhere_or_too_long_is_garbage() {
        let frame = answer();
        let body = frame.get(4..).unwrap();

        for cut in 0..body.len() {
            assert!(Report::decode(body.get(..cut).unwrap()).is_err(), "cut at {cut}");
        }
        assert!(Report::decode(&[body, &[0]].concat()).is_err());
    }

    #[test]
    fn lengths_and_counts_that_lie_are_garbage_and_cost_no_memory() {
        let mut many = vec![3];
        many.extend([0; 12]);
        many.extend(u32::MAX.to_be_bytes());
        assert!(Report::decode(&many).is_err());

        let mut long = vec![2];
        long.extend(u32::MAX.to_be_bytes());
        assert!(Report::decode(&long).is_err());

        assert_eq!(body_length(u32::MAX.to_be_bytes()), None);
        assert_eq!(body_length([0; 4]), None);
    }

    #[test]
    fn a_frame_that_ends_early_is_an_error_and_not_an_end() {
        assert!(read_frame(&mut [].as_slice()).unwrap().is_none());
        assert!(read_frame(&mut [0, 0].as_slice()).is_err());
        assert!(read_frame(&mut [0, 0, 0, 9, 1].as_slice()).is_err());
    }
}
