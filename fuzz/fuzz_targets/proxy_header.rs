//! Any bytes as the header of a trusted proxy: it gives a verdict, and never takes a byte of what is behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_net::announced_client;
use std::sync::OnceLock;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

/// What stands behind the header; its first byte is in neither version of one.
const BEHIND: &[u8] = b"\xfeSSH-2.0-client\r\n";

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let runtime = RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (mut client, accepted) = tokio::join!(
            async { TcpStream::connect(listener.local_addr().unwrap()).await.unwrap() },
            listener.accept()
        );
        let (mut server, _) = accepted.unwrap();
        client.write_all(bytes).await.unwrap();
        client.write_all(BEHIND).await.unwrap();
        client.shutdown().await.unwrap();
        if announced_client(&mut server).await.is_ok() {
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.unwrap();
            let whole = [bytes, BEHIND].concat();
            assert!(whole.ends_with(&rest));
            // A header of version 1 ends with its line, one of version 2 says its length.
            let taken = &whole[..whole.len() - rest.len()];
            let length = match taken.get(14..16) {
                Some(&[high, low]) if taken.starts_with(b"\r\n\r\n\0") => {
                    16 + usize::from(u16::from_be_bytes([high, low]))
                }
                _ => taken.windows(2).position(|pair| pair == b"\r\n").unwrap_or_default() + 2,
            };
            assert_eq!(taken.len(), length, "{:?}", taken.escape_ascii().to_string());
        }
    });
});
