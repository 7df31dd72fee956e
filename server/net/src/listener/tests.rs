//! The listener's rules, over real sockets on free ports.

use super::*;
use crate::{Eviction, StopSource};
use std::{
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, mpsc},
    task::JoinHandle,
};

/// A door that tells the peer's address, then does what the client's first byte says.
struct Echo {
    served: Arc<AtomicUsize>,
    evictions: mpsc::UnboundedSender<Eviction>,
    hold: Arc<Notify>,
    deaf: bool,
}

#[async_trait::async_trait]
impl Frontend for Echo {
    fn door(&self) -> Door {
        Door::Sftp
    }

    async fn serve(&self, mut connection: Connection) {
        self.served.fetch_add(1, Ordering::SeqCst);
        let greeting = format!("{} {} {}\n", connection.peer, connection.local, connection.proxied);
        let evicted = connection.stranger.evicted();
        let talk = async {
            let _ = connection.stream.write_all(greeting.as_bytes()).await;
            loop {
                match connection.stream.read_u8().await {
                    Ok(b'a') => connection.stranger.admit(),
                    Ok(b'p') => panic!("asked to"),
                    Ok(b'h') => self.hold.notified().await,
                    Ok(b'd') => std::future::pending().await,
                    Ok(byte) => drop(connection.stream.write_all(&[byte]).await),
                    Err(_) => return,
                }
            }
        };
        tokio::select! {
            () = talk => {}
            why = evicted => {
                let _ = self.evictions.send(why);
                if self.deaf {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

struct Site {
    address: SocketAddr,
    control: ListenerControl,
    house: House,
    stop: StopSource,
    served: Arc<AtomicUsize>,
    evictions: mpsc::UnboundedReceiver<Eviction>,
    hold: Arc<Notify>,
    loop_ended: JoinHandle<()>,
}

const LIMITS: NetLimits = NetLimits {
    strangers_per_address: 10,
    strangers: 200,
    connections_per_address: 100,
    connection_ban: None,
    login_grace: Duration::from_secs(60),
};

fn settings(proxies: &[&str]) -> ListenerSettings {
    ListenerSettings {
        door: Door::Sftp,
        address: "127.0.0.1:0".parse().unwrap(),
        proxy_protocol: proxies.iter().map(|network| network.parse().unwrap()).collect(),
        max_connections: 100,
    }
}

fn open(settings: ListenerSettings, limits: NetLimits, grace: Duration) -> Site {
    site(settings, limits, grace, false)
}

/// `deaf`: the door does not go when it is told to.
fn site(settings: ListenerSettings, limits: NetLimits, grace: Duration, deaf: bool) -> Site {
    in_house(settings, House::new(limits, AddressBook::new()), grace, deaf)
}

fn in_house(settings: ListenerSettings, house: House, grace: Duration, deaf: bool) -> Site {
    let bound = Bound::bind(settings).unwrap();
    let (stop, hold, served) = (StopSource::new(), Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (evictions, heard) = mpsc::unbounded_channel();
    let door = Arc::new(Echo { served: Arc::clone(&served), evictions, hold: Arc::clone(&hold), deaf });
    let (address, control) = (bound.address(), bound.control());
    let loop_ended = tokio::spawn(bound.serve(door, house.clone(), stop.listener(), grace));
    Site { address, control, house, stop, served, evictions: heard, hold, loop_ended }
}

struct Client(TcpStream);

impl Client {
    async fn dial(site: &Site) -> Self {
        Self(TcpStream::connect(site.address).await.unwrap())
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        while let Ok(byte) = self.0.read_u8().await {
            if byte == b'\n' {
                return line;
            }
            line.push(char::from(byte));
        }
        format!("{line}<end>")
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Whether the server has closed, or closes, without another byte.
    async fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }

    async fn answers(&mut self) -> bool {
        let mut byte = [0];
        self.0.write_all(b"x").await.is_ok() && self.0.read_exact(&mut byte).await.is_ok() && byte == *b"x"
    }
}

#[tokio::test]
async fn a_port_in_use_is_told_at_binding_with_door_and_address() {
    let first = Bound::bind(settings(&[])).unwrap();
    let taken = ListenerSettings { address: first.address(), ..settings(&[]) };
    let error = Bound::bind(taken).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().starts_with(&format!("sftp cannot listen on {}: ", first.address())), "{error}");
}

#[tokio::test]
async fn a_banned_address_gets_no_byte() {
    let site = open(settings(&[]), LIMITS, Duration::ZERO);
    site.house.book.ban(IpAddr::from([127, 0, 0, 1]), u64::MAX);
    assert_eq!(Client::dial(&site).await.line().await, "<end>");
    assert_eq!(site.served.load(Ordering::SeqCst), 0, "the door never saw it");
    site.house.book.clear(IpAddr::from([127, 0, 0, 1]));
    assert!(Client::dial(&site).await.line().await.ends_with("false"));
}

#[tokio::test]
async fn a_crowd_from_one_address_loses_its_oldest_and_lets_the_newest_in() {
    let limits = NetLimits { strangers_per_address: 3, ..LIMITS };
    let mut site = open(settings(&[]), limits, Duration::ZERO);
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::dial(&site).await;
        client.line().await;
        clients.push(client);
    }
    assert_eq!(site.evictions.recv().await, Some(Eviction::Crowded));
    let [oldest, others @ ..] = &mut clients[..] else { unreachable!() };
    assert!(oldest.is_closed().await);
    for client in others {
        assert!(client.answers().await);
    }
}

#[tokio::test]
async fn who_logged_in_is_not_counted_among_strangers() {
    let limits = NetLimits { strangers_per_address: 1, ..LIMITS };
    let site = open(settings(&[]), limits, Duration::ZERO);
    let mut known = Client::dial(&site).await;
    known.line().await;
    known.say(b"a").await;
    assert!(known.answers().await);
    let mut stranger = Client::dial(&site).await;
    stranger.line().await;
    assert!(stranger.answers().await && known.answers().await);
}

#[tokio::test]
async fn grace_ends_a_silent_connection_even_where_the_door_does_not() {
    let limits = NetLimits { login_grace: Duration::from_millis(50), ..LIMITS };
    for deaf in [false, true] {
        let mut site = site(settings(&[]), limits, Duration::ZERO, deaf);
        let mut silent = Client::dial(&site).await;
        silent.line().await;
        assert!(silent.is_closed().await);
        assert_eq!(site.evictions.recv().await, Some(Eviction::Grace));
    }
}

#[tokio::test]
async fn a_ban_ends_the_strangers_that_are_in_and_spares_sessions() {
    let mut site = open(settings(&[]), LIMITS, Duration::ZERO);
    let mut session = Client::dial(&site).await;
    session.line().await;
    session.say(b"a").await;
    assert!(session.answers().await);
    let mut stranger = Client::dial(&site).await;
    stranger.line().await;
    site.house.book.ban(IpAddr::from([127, 0, 0, 1]), u64::MAX);
    assert_eq!(site.evictions.recv().await, Some(Eviction::Banned));
    assert!(stranger.is_closed().await && session.answers().await);
}

#[tokio::test]
async fn connections_past_the_limit_of_an_address_or_of_the_listener_are_closed() {
    let per_address = open(settings(&[]), NetLimits { connections_per_address: 1, ..LIMITS }, Duration::ZERO);
    let mut first = Client::dial(&per_address).await;
    first.line().await;
    assert_eq!(Client::dial(&per_address).await.line().await, "<end>");
    per_address.house.reconfigure(LIMITS);
    assert!(
        Client::dial(&per_address).await.line().await.ends_with("false"),
        "changed limits count from the next connection on"
    );

    let full = open(ListenerSettings { max_connections: 1, ..settings(&[]) }, LIMITS, Duration::ZERO);
    let mut first = Client::dial(&full).await;
    first.line().await;
    first.say(b"a").await;
    assert!(first.answers().await);
    assert_eq!(Client::dial(&full).await.line().await, "<end>");
    assert!(first.answers().await);
    full.control.change(Vec::new(), 2);
    assert!(
        Client::dial(&full).await.line().await.ends_with("false"),
        "a changed limit counts from the next connection on"
    );
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_banned_unless_it_is_exempt() {
    let rule = ConnectionBan { connections: 2, window: Duration::from_secs(60), ban: Duration::from_secs(60) };
    let site = open(settings(&[]), NetLimits { connection_ban: Some(rule), ..LIMITS }, Duration::ZERO);
    let here = IpAddr::from([127, 0, 0, 1]);
    for _ in 0..2 {
        assert!(Client::dial(&site).await.line().await.ends_with("false"));
    }
    assert_eq!(Client::dial(&site).await.line().await, "<end>");
    assert!(site.house.book.is_banned(here));
    assert_eq!(site.house.book.take_unrecorded().len(), 1, "whoever records bans learns of it once");
    site.house.book.exempt(vec!["127.0.0.0/8".parse().unwrap()]);
    for _ in 0..5 {
        assert!(Client::dial(&site).await.line().await.ends_with("false"));
    }
}

#[tokio::test]
async fn a_listener_that_learns_of_its_proxies_later_believes_and_demands_their_header() {
    let site = open(settings(&[]), LIMITS, Duration::ZERO);
    site.control.change(vec!["127.0.0.0/8".parse().unwrap()], 100);
    let mut client = Client::dial(&site).await;
    client.say(b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 2222\r\n").await;
    assert_eq!(client.line().await, "203.0.113.7:56324 192.0.2.1:2222 true");
}

#[tokio::test]
async fn a_trusted_proxy_tells_the_clients_address_and_the_payload_stays_whole() {
    let site = open(settings(&["127.0.0.0/8"]), LIMITS, Duration::ZERO);
    let mut client = Client::dial(&site).await;
    client.say(b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 2222\r\nx").await;
    assert_eq!(client.line().await, "203.0.113.7:56324 192.0.2.1:2222 true");
    assert_eq!(client.0.read_u8().await.unwrap(), b'x');

    let mut health_check = Client::dial(&site).await;
    health_check.say(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await;
    assert!(health_check.line().await.ends_with("false"), "a proxy speaking for itself is itself");
}

#[tokio::test]
async fn the_address_a_proxy_tells_is_the_one_that_bans_and_limits_look_at() {
    let limits = NetLimits { connections_per_address: 1, ..LIMITS };
    let site = open(settings(&["127.0.0.1/32"]), limits, Duration::ZERO);
    site.house.book.ban(IpAddr::from([203, 0, 113, 7]), u64::MAX);
    let mut banned = Client::dial(&site).await;
    banned.say(b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2222\r\n").await;
    assert_eq!(banned.line().await, "<end>");

    let mut first = Client::dial(&site).await;
    first.say(b"PROXY TCP4 203.0.113.8 192.0.2.1 1 2222\r\n").await;
    assert!(first.line().await.ends_with("true"));
    let mut same = Client::dial(&site).await;
    same.say(b"PROXY TCP4 203.0.113.8 192.0.2.1 2 2222\r\n").await;
    assert_eq!(same.line().await, "<end>");
    let mut other = Client::dial(&site).await;
    other.say(b"PROXY TCP4 203.0.113.9 192.0.2.1 1 2222\r\n").await;
    assert!(other.line().await.ends_with("true"));
}

#[tokio::test]
async fn a_ban_on_the_balancer_closes_no_listener_behind_it_and_a_health_check_counts_towards_none() {
    let rule = ConnectionBan { connections: 2, window: Duration::from_secs(60), ban: Duration::from_secs(60) };
    let limits = NetLimits { connection_ban: Some(rule), ..LIMITS };
    let site = open(settings(&["127.0.0.1/32"]), limits, Duration::ZERO);
    let balancer = IpAddr::from([127, 0, 0, 1]);

    for check in [b"PROXY UNKNOWN\r\n".as_slice(), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        for _ in 0..5 {
            let mut health_check = Client::dial(&site).await;
            health_check.say(check).await;
            assert!(health_check.line().await.starts_with("127.0.0.1:"), "a health check is served as the balancer");
        }
    }
    assert!(!site.house.book.is_banned(balancer));

    site.house.book.ban(balancer, u64::MAX);
    let mut health_check = Client::dial(&site).await;
    health_check.say(b"PROXY UNKNOWN\r\n").await;
    assert!(health_check.line().await.ends_with("false"));
    assert!(health_check.answers().await, "and is not sent away for the ban");
    let mut client = Client::dial(&site).await;
    client.say(b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2222\r\n").await;
    assert!(client.line().await.ends_with("true"));
    assert!(client.answers().await);

    for _ in 0..2 {
        let mut often = Client::dial(&site).await;
        often.say(b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2222\r\n").await;
        often.line().await;
    }
    assert!(site.house.book.is_banned(IpAddr::from([203, 0, 113, 7])), "the client's own connections count");
}

#[tokio::test]
async fn no_more_than_the_limit_of_strangers_have_a_last_word_at_once() {
    let limits = NetLimits { strangers: 1, ..LIMITS };
    let house = House { farewell: Duration::from_secs(3600), ..House::new(limits, AddressBook::new()) };
    let site = in_house(settings(&[]), house, Duration::ZERO, true);
    let (mut first, mut second) = (Client::dial(&site).await, Client::dial(&site).await);
    first.line().await;
    second.line().await;
    let mut third = Client::dial(&site).await;
    third.line().await;

    // One of the two has the only place on the way out, and the other goes at once.
    tokio::select! {
        closed = first.is_closed() => assert!(closed),
        closed = second.is_closed() => assert!(closed),
    }
    assert_eq!(site.house.parting.load(Ordering::SeqCst), 1);
    assert!(third.answers().await);
}

#[tokio::test]
async fn a_listener_that_expects_a_header_serves_nobody_without_one() {
    let site = open(settings(&["127.0.0.0/8"]), LIMITS, Duration::ZERO);
    let mut client = Client::dial(&site).await;
    client.say(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.line().await, "<end>");
    assert_eq!(site.served.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_header_from_an_untrusted_address_is_never_believed() {
    let site = open(settings(&["192.0.2.0/24"]), LIMITS, Duration::ZERO);
    assert_eq!(Client::dial(&site).await.line().await, "<end>");
    assert_eq!(site.served.load(Ordering::SeqCst), 0);

    let plain = open(settings(&[]), LIMITS, Duration::ZERO);
    let mut client = Client::dial(&plain).await;
    client.say(b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 2222\r\n").await;
    let greeting = client.line().await;
    assert!(greeting.starts_with("127.0.0.1:") && greeting.ends_with("false"), "{greeting}");
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_alone() {
    let site = open(settings(&[]), LIMITS, Duration::ZERO);
    let (mut doomed, mut other) = (Client::dial(&site).await, Client::dial(&site).await);
    doomed.line().await;
    other.line().await;
    doomed.say(b"p").await;
    assert!(doomed.is_closed().await);
    assert!(other.answers().await);
    assert!(Client::dial(&site).await.line().await.ends_with("false"));
}

#[tokio::test]
async fn stopping_accepts_nobody_and_lets_what_runs_finish() {
    let site = open(settings(&[]), LIMITS, Duration::from_secs(60));
    let mut busy = Client::dial(&site).await;
    busy.line().await;
    busy.say(b"h").await;
    site.stop.stop();
    while TcpStream::connect(site.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    site.hold.notify_one();
    assert!(busy.answers().await, "what runs goes on");
    drop(busy);
    site.loop_ended.await.unwrap();
}

#[tokio::test]
async fn stopping_ends_what_does_not_finish_at_the_end_of_the_grace() {
    let site = open(settings(&[]), LIMITS, Duration::from_millis(50));
    let mut stuck = Client::dial(&site).await;
    stuck.line().await;
    stuck.say(b"d").await;
    site.stop.stop();
    site.loop_ended.await.unwrap();
    assert!(stuck.is_closed().await);
}
