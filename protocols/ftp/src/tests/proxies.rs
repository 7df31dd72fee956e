//! Behind a balancer that speaks the PROXY protocol, and what passive clients are told.

use super::house::{Client, House};
use crate::{FtpSettings, PassiveHost, PassiveHosts};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// The client is at 127.0.0.7 and comes through 127.0.0.1.
const HEADER: &str = "PROXY TCP4 127.0.0.7 192.0.2.1 5000 21\r\n";

fn behind_a_proxy(settings: &mut FtpSettings) {
    settings.proxies = vec!["127.0.0.1/32".parse().unwrap()];
}

async fn logged_in(house: &House) -> Client {
    let mut stream = TcpStream::connect(house.at).await.unwrap();
    stream.write_all(HEADER.as_bytes()).await.unwrap();
    let mut client = Client::over(Box::new(stream));
    client.must(220).await;
    client.log_in().await;
    client
}

async fn call(from: &str, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap()
}

async fn port(client: &mut Client) -> u16 {
    client.expect(&[("EPSV", 229)]).await.split('|').nth(3).unwrap().parse().unwrap()
}

#[tokio::test]
async fn data_comes_through_the_proxy_with_the_clients_address_in_front() {
    let house = House::set(behind_a_proxy).await;
    house.put("a", b"the file");
    let mut client = logged_in(&house).await;
    let at = port(&mut client).await;
    let mut data = call("127.0.0.1", at).await;
    data.write_all(HEADER.as_bytes()).await.unwrap();
    client.expect(&[("RETR a", 150)]).await;
    let mut came = String::new();
    data.read_to_string(&mut came).await.unwrap();
    assert_eq!(came, "the file");
    client.must(226).await;

    let at = port(&mut client).await;
    client.send("STOR b\r\n").await;
    let mut data = call("127.0.0.1", at).await;
    data.write_all(format!("{HEADER}{HEADER}").as_bytes()).await.unwrap();
    data.shutdown().await.unwrap();
    client.must(150).await;
    client.must(226).await;
    assert_eq!(house.bytes("b").unwrap(), HEADER.as_bytes(), "a second header is the file's own");
}

#[tokio::test]
async fn data_without_the_header_or_of_another_client_is_refused() {
    let house = House::set(behind_a_proxy).await;
    house.put("a", b"the file");
    let mut client = logged_in(&house).await;
    for (from, words) in [
        ("127.0.0.1", ""),
        ("127.0.0.1", "PROXY TCP4 127.0.0.8 192.0.2.1 5000 21\r\n"),
        ("127.0.0.1", "PROXY UNKNOWN\r\n"),
        ("127.0.0.7", ""),
        ("127.0.0.7", HEADER),
    ] {
        let at = port(&mut client).await;
        let mut data = call(from, at).await;
        let _ = data.write_all(words.as_bytes()).await;
        client.expect(&[("RETR a", 425)]).await;
        let mut came = Vec::new();
        let _ = data.read_to_end(&mut came).await;
        assert_eq!(came, b"", "{from} {words}");
    }
}

#[tokio::test]
async fn data_past_the_proxy_is_taken_where_an_operator_says_so() {
    let house = House::set(|settings| {
        behind_a_proxy(settings);
        settings.direct_data = true;
    })
    .await;
    house.put("a", b"the file");
    let mut client = logged_in(&house).await;
    for (from, words) in [("127.0.0.7", ""), ("127.0.0.1", HEADER)] {
        let at = port(&mut client).await;
        let _stranger = call("127.0.0.8", at).await;
        let mut data = call(from, at).await;
        data.write_all(words.as_bytes()).await.unwrap();
        client.expect(&[("RETR a", 150)]).await;
        let mut came = String::new();
        data.read_to_string(&mut came).await.unwrap();
        assert_eq!(came, "the file");
        client.must(226).await;
    }
}

#[tokio::test]
async fn pasv_tells_the_address_of_the_clients_network() {
    let to = |address: &str| PassiveHost::Ip(address.parse().unwrap());
    let house = House::set(|settings| {
        let by_network = vec![("127.0.0.1/32".parse().unwrap(), to("127.0.0.1"))];
        settings.passive_hosts = PassiveHosts { otherwise: to("198.51.100.7"), by_network };
    })
    .await;
    let mut client = house.user().await;
    assert!(client.expect(&[("PASV", 227)]).await.contains("(127,0,0,1,"));
    client
        .expect(&[("EPSV ALL", 200), ("PASV", 501), ("PORT 127,0,0,1,8,8", 501), ("EPRT |1|127.0.0.1|9999|", 501)])
        .await;
    client.expect(&[("EPSV", 229), ("EPSV 1", 229), ("EPSV 2", 522)]).await;
    let stream = call("127.0.0.7", house.at.port()).await;
    let mut client = Client::over(Box::new(stream));
    client.must(220).await;
    client.log_in().await;
    assert!(client.expect(&[("PASV", 227)]).await.contains("(198,51,100,7,"));
}
