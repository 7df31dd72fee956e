//! The same commands to libunftp and to us: where the codes differ, the table says why.

use super::{
    house::{Client, House, tree},
    previous,
};
use tokio::net::{TcpListener, TcpStream};

/// What is said, the code here, the code there, and why they differ.
const EXPLAINED: &[(&str, u16, u16, &str)] = &[
    ("MLST f", 250, 550, "libunftp takes the name for one of the root, whatever the folder"),
    ("RNTO h", 503, 450, "RFC 959 section 5.4 has no 450 for RNTO, and 503 for a command out of turn"),
    ("ALLO 10", 200, 202, "the number is looked at when the file comes, so it is not superfluous"),
];

/// A conversation after the login. Lines with a `<` or `>` move data.
const SCRIPT: &[&str] = &[
    "SYST",
    "PWD",
    "TYPE I",
    "TYPE A",
    "TYPE I",
    "MODE S",
    "STRU F",
    "NOOP",
    "MKD d",
    "MKD d",
    "CWD d",
    "PWD",
    "CDUP",
    "CWD nope",
    "CWD /d",
    "> STOR f",
    "SIZE f",
    "MDTM f",
    "MDTM nope",
    "SIZE nope",
    "< RETR f",
    "< RETR nope",
    "REST 2",
    "< RETR f",
    "< LIST",
    "< NLST",
    "< MLSD",
    "MLST f",
    "RNFR nope",
    "RNFR f",
    "RNTO g",
    "RNTO h",
    "DELE nope",
    "DELE g",
    "CWD /",
    "RMD d",
    "RMD d",
    "ALLO 10",
    "STAT",
    "HELP",
    "PASV",
    "EPSV",
    "XYZZY",
    "QUIT",
];

async fn logged_in(at: std::net::SocketAddr) -> Client {
    let mut client = Client::over(Box::new(TcpStream::connect(at).await.unwrap()));
    client.must(220).await;
    client.expect(&[("USER alice", 331), ("PASS wrong", 530), ("USER alice", 331), ("PASS right", 230)]).await;
    client
}

async fn run(client: &mut Client) -> Vec<u16> {
    let mut codes = Vec::new();
    for line in SCRIPT {
        let reply = match line.split_at(2) {
            ("> ", command) => client.put(command, b"0123456789").await,
            ("< ", command) => client.get(command).await.1,
            _ => client.say(line).await,
        };
        codes.push(reply.get(..3).map_or(0, |code| code.parse().unwrap()));
    }
    codes
}

#[tokio::test]
async fn every_difference_from_libunftp_is_explained() {
    let house = House::new().await;
    let ours = run(&mut logged_in(house.at).await).await;
    let dir = tempfile::tempdir().unwrap();
    let vfs = tree(dir.path().join("root"), None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { previous::serve(listener.accept().await.unwrap().0, vfs).await });
    let theirs = run(&mut logged_in(at).await).await;
    serving.abort();
    let triples = SCRIPT.iter().zip(ours).zip(theirs).map(|((line, here), there)| (*line, here, there));
    let found: Vec<_> = triples.filter(|(_, here, there)| here != there).collect();
    let told: Vec<_> = EXPLAINED.iter().map(|(line, here, there, why)| ((*line, *here, *there), *why)).collect();
    for difference in &found {
        assert!(told.iter().any(|(known, _)| known == difference), "not explained: {difference:?}");
    }
    for (known, why) in told {
        assert!(found.contains(&known), "{known:?} is no difference any more ({why})");
    }
}
