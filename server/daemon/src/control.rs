//! The control socket: how commands ask the running server, `run/control.sock`.
//!
//! One JSON line asks, one JSON line answers, over a Unix socket in a folder that only the owner can enter. It carries nothing
//! that changes users or preferences: those commands act on the files directly and work without a server.

use crate::home::Home;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream as StdStream},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

/// The longest question; an answer may be longer.
const LONGEST_QUESTION: u64 = 64 * 1024;
/// The longest answer that a command reads: a list of some ten thousand sessions.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who answers.
#[async_trait::async_trait]
pub(crate) trait Answers: Send + Sync + 'static {
    /// Answers one question.
    async fn answer(&self, question: &Value) -> Value;
}

/// Listens on the socket of a home; replaces one that a dead server left (the caller holds the home's lock).
pub(crate) fn listen(home: &Home) -> anyhow::Result<UnixListener> {
    let path = home.control();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", path.display()))?;
    Ok(listener)
}

/// Answers questions until dropped.
pub(crate) async fn serve(listener: UnixListener, answers: Arc<dyn Answers>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, converse(stream, answers)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket does not accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, answers: Arc<dyn Answers>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    tokio::io::BufReader::new(read.take(LONGEST_QUESTION)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(question) => answers.answer(&question).await,
        Err(_) => json!({ "error": "not a question" }),
    };
    write.write_all(format!("{answer}\n").as_bytes()).await?;
    write.shutdown().await
}

/// Asks the running server; `None` where none runs.
pub(crate) fn ask(home: &Home, question: &Value) -> anyhow::Result<Option<Value>> {
    let path = home.control();
    let mut stream = match StdStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot reach the server through {}", path.display())),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{question}\n").as_bytes()).context("the server does not listen")?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_ANSWER)).read_line(&mut line).context("the server does not answer")?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line).context("the server's answer is not understood")?))
}
