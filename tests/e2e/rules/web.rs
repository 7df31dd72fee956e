//! What is particular to HTTP: the two steps of the login, the cookie, the token, conditional writes, and what a client that reads
//! files can count on.

use crate::{
    clients::{Answer, Browser, Login, Second},
    house::House,
    newcomer::User,
    program::{clean_command, run_with},
};
use serde_json::json;
use std::{fs, net::Ipv4Addr};

const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A browser that is logged in.
fn inside(house: &House, tls: bool, user: &User) -> Browser {
    let mut browser = Browser::new(house, tls, HOME);
    let answer = browser.log_in(&user.with_password());
    assert_eq!(answer.json()["state"], "granted", "{} {}", answer.status, answer.body);
    browser
}

/// The id of a challenge that the password earned.
fn challenge(browser: &mut Browser, user: &User) -> String {
    let answer = browser.log_in(&user.with_password());
    let challenge = &answer.json()["challenge"];
    assert_eq!((answer.status, &challenge["expects"]), (200, &"code".into()), "{}", answer.body);
    challenge["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_cookie_is_for_this_site_alone_and_no_script_reads_it() {
    let house = House::open();
    let user = house.newcomer("visitor").add();
    for tls in [false, true] {
        let answer = Browser::new(&house, tls, HOME).log_in(&user.with_password());
        let head = answer.head.to_lowercase();
        let cookie =
            head.lines().find(|line| line.starts_with("set-cookie:")).unwrap_or_else(|| panic!("no cookie in {head}"));
        let name = if tls { "__host-lockgate_session=" } else { "lockgate_session=" };
        assert!(cookie.contains(name), "{cookie}");
        for flag in ["httponly", "samesite=strict"] {
            assert!(cookie.contains(flag), "{flag} is not in {cookie}");
        }
        assert_eq!(cookie.contains("; secure"), tls, "{cookie}");
        assert!(head.contains("cache-control: no-store"), "{head}");
    }
}

#[test]
fn a_login_that_is_half_done_opens_nothing_whatever_it_is_shown_as() {
    let house = House::open();
    let user = house.newcomer("halfway").enrolled().add();
    let mut browser = Browser::new(&house, true, HOME);
    let id = challenge(&mut browser, &user);
    let bearer = format!("Authorization: Bearer {id}");
    let cookies = [format!("lockgate_session={id}"), format!("__Host-lockgate_session={id}")];
    let basic = format!("{}:{id}", user.name);
    let compound = format!("{}:{}:{id}", user.name, user.password);
    let carriers: [Vec<&str>; 6] = [
        vec![],
        vec!["--header", &bearer],
        vec!["--cookie", &cookies[0]],
        vec!["--cookie", &cookies[1]],
        vec!["--user", &basic],
        vec!["--user", &compound],
    ];
    for path in ["/api/v1/list/", "/api/v1/me", "/api/v1/files/x", "/dav/", &format!("/api/v1/list/?token={id}")] {
        for carrier in &carriers {
            let answer = browser.ask("GET", path, carrier);
            assert!(matches!(answer.status, 401 | 403 | 404 | 429), "{path} with {carrier:?}: {}", answer.status);
        }
    }
}

#[test]
fn a_challenge_shown_from_another_address_is_refused_there_and_stays_good() {
    let house = House::open();
    let user = house.newcomer("moved").enrolled().add();
    let mut browser = Browser::new(&house, true, HOME);
    let id = challenge(&mut browser, &user);
    let code = user.code();
    let path = format!("/api/v1/login/{id}");
    let thief = Browser::new(&house, true, ELSEWHERE).post(&path, &json!({ "code": code }));
    assert_eq!(thief.status, 401, "{}", thief.body);
    let answer = browser.post(&path, &json!({ "code": code }));
    assert_eq!(answer.json()["state"], "granted", "{} {}", answer.status, answer.body);
    let again = browser.post(&path, &json!({ "code": code }));
    assert_eq!(again.status, 401, "a challenge is answered once");
}

#[test]
fn a_challenge_takes_three_wrong_codes_and_is_then_gone() {
    let house = House::open();
    let user = house.newcomer("guesser").enrolled().add();
    let mut browser = Browser::new(&house, true, HOME);
    let path = format!("/api/v1/login/{}", challenge(&mut browser, &user));
    let wrong = user.app().wrong_code();
    for _ in 0..3 {
        assert_eq!(browser.post(&path, &json!({ "code": wrong })).status, 401);
    }
    let late = browser.post(&path, &json!({ "code": user.code() }));
    assert_eq!(late.status, 401, "the right code after three wrong ones: {}", late.body);
}

#[test]
fn challenges_have_names_that_cannot_be_guessed() {
    let house = House::open();
    let user = house.newcomer("curious").enrolled().add();
    let mut browser = Browser::new(&house, false, HOME);
    let mut ids: Vec<String> = (0..10).map(|_| challenge(&mut browser, &user)).collect();
    // 128 bits are 22 characters of Base64 or 32 of hex.
    assert!(ids.iter().all(|id| id.len() >= 22), "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 10);
}

#[test]
fn a_change_without_the_token_is_refused_and_changes_nothing() {
    let house = House::open();
    let user = house.newcomer("forged").add();
    let mut browser = inside(&house, true, &user);
    let local = house.scratch("sent.txt");
    fs::write(&local, "by the user").unwrap();
    // Over HTTP/2 curl loses an answer that comes before it has sent the body.
    let upload = ["--http1.1", "--upload-file", local.to_str().unwrap()];
    assert_eq!(browser.ask("PUT", "/api/v1/files/kept.txt", &upload).status, 201);
    browser.forget_token();
    for (method, path, more) in [
        ("PUT", "/api/v1/files/kept.txt", &upload[..]),
        ("DELETE", "/api/v1/files/kept.txt", &[]),
        ("POST", "/api/v1/mkdir/made", &[]),
        (
            "POST",
            "/api/v1/move",
            &["--header", "Content-Type: application/json", "--data-raw", r#"{"from":"/kept.txt","to":"/gone.txt"}"#],
        ),
        (
            "POST",
            "/api/v1/move",
            &["--header", "Content-Type: text/plain", "--data-raw", r#"{"from":"/kept.txt","to":"/gone.txt"}"#],
        ),
        ("DELETE", "/api/v1/session", &[]),
    ] {
        let answer = browser.ask(method, path, more);
        assert!(matches!(answer.status, 400 | 403 | 415), "{method} {path}: {} {}", answer.status, answer.body);
    }
    let folder = house.home().join("files/forged");
    assert_eq!(fs::read_to_string(folder.join("kept.txt")).unwrap(), "by the user");
    assert!(!folder.join("made").exists() && !folder.join("gone.txt").exists());
    assert_eq!(browser.ask("GET", "/api/v1/list/", &[]).status, 200, "still logged in");
}

#[test]
fn logging_out_ends_the_session_on_the_server() {
    let house = House::open();
    let user = house.newcomer("leaver").add();
    let browser = inside(&house, true, &user);
    // As somebody who had copied the cookie would have it.
    let jar = house.scratch("copied");
    fs::copy(browser.jar(), &jar).unwrap();
    assert_eq!(browser.ask("DELETE", "/api/v1/session", &[]).status, 204);
    let mut curl = clean_command("curl");
    curl.args(["-q", "-s", "-k", "-o", "/dev/null", "-w", "%{http_code}", "--cookie"]).arg(&jar);
    curl.arg(format!("https://{}/api/v1/list/", house.door("https")));
    assert_eq!(run_with(curl, "").ok(), "401");
}

#[test]
fn the_value_of_the_cookie_changes_with_each_login() {
    let house = House::open();
    let user = house.newcomer("rotated").add();
    let mut browser = Browser::new(&house, true, HOME);
    let mut values = Vec::new();
    for _ in 0..3 {
        browser.log_in(&user.with_password());
        values.push(fs::read_to_string(browser.jar()).unwrap().lines().last().unwrap().to_owned());
    }
    values.dedup();
    assert_eq!(values.len(), 3);
}

#[test]
fn a_write_can_be_made_to_depend_on_what_is_there() {
    let house = House::open();
    let user = house.newcomer("careful").add();
    let browser = inside(&house, true, &user);
    let local = house.scratch("sent.txt");
    fs::write(&local, "text").unwrap();
    let put = |condition: &str| {
        let answer = browser.ask(
            "PUT",
            "/api/v1/files/doc.txt",
            &["--header", condition, "--upload-file", local.to_str().unwrap()],
        );
        answer.status
    };
    assert_eq!(put("If-None-Match: *"), 201);
    assert_eq!(put("If-None-Match: *"), 412);
    let head = browser.ask("HEAD", "/api/v1/files/doc.txt", &["--head"]).head.to_lowercase();
    let etag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag:"))
        .unwrap_or_else(|| panic!("no ETag in {head}"))
        .trim()
        .to_owned();
    assert_eq!(put(&format!("If-Match: {etag}")), 204);
    assert_eq!(put(r#"If-Match: "another""#), 412);
    assert!(
        head.contains("content-disposition: attachment") && head.contains("x-content-type-options: nosniff"),
        "{head}"
    );
}

#[test]
fn errors_have_one_shape_and_tell_nothing_of_the_inside() {
    let house = House::open();
    let user = house.newcomer("asker").add();
    let browser = inside(&house, true, &user);
    for (method, path, status) in [
        ("GET", "/api/v1/files/none.txt", 404),
        ("GET", "/api/v1/list/none", 404),
        ("GET", "/api/v1/no-such-thing", 404),
    ] {
        let answer = browser.ask(method, path, &[]);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let error = &answer.json()["error"];
        assert!(error["code"].is_string() && error["message"].is_string(), "{path}: {}", answer.body);
        assert!(!answer.body.contains(house.home().to_str().unwrap()), "{path}: {}", answer.body);
    }
    let nobody = Login { second: Second::Nothing, ..Login::new("nobody", "wrong") };
    let denied = Browser::new(&house, true, HOME).log_in(&nobody);
    assert_eq!((denied.status, &denied.json()["error"]["code"]), (401, &"denied".into()), "{}", denied.body);
}

#[test]
fn the_web_speaks_http_2_and_a_listing_is_paged() {
    let house = House::open();
    let user = house.newcomer("paged").add();
    let folder = house.home().join("files/paged");
    fs::create_dir_all(&folder).unwrap();
    for n in 0..25 {
        fs::write(folder.join(format!("entry-{n:02}")), "").unwrap();
    }
    let browser = inside(&house, true, &user);
    let (mut cursor, mut names) = (String::new(), Vec::new());
    loop {
        let page = browser.ask("GET", &format!("/api/v1/list/?limit=10{cursor}"), &["--http2"]);
        assert!(page.head.starts_with("HTTP/2 200"), "{}", page.head);
        let list = page.json();
        let entries = list["entries"].as_array().unwrap();
        assert!(entries.len() <= 10, "{list}");
        names.extend(entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()));
        match list["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        assert!(names.len() <= 25, "the pages do not end: {names:?}");
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 25);
}

/// One request with HTTP Basic, and nothing that is remembered.
fn by_basic(house: &House, user: &User, method: &str, path: &str, headers: &[&str]) -> Answer {
    let login = format!("{}:{}", user.name, user.password);
    let mut more = vec!["--user", &login];
    more.extend(headers.iter().flat_map(|header| ["--header", header]));
    if method == "HEAD" {
        more.push("--head");
    }
    Browser::new(house, false, HOME).ask(method, path, &more)
}

/// What a reply says of the file: its headers without the time, in order.
fn described(answer: &Answer) -> Vec<String> {
    let lines = answer.head.lines().skip(1).map(str::to_lowercase);
    let mut lines: Vec<_> = lines.filter(|line| !line.starts_with("date:")).collect();
    lines.sort();
    lines
}

#[test]
fn a_file_is_the_same_file_under_both_of_its_addresses() {
    let house = House::open();
    let user = house.newcomer("reader").add();
    let folder = house.home().join("files/reader");
    fs::create_dir_all(folder.join("folder")).unwrap();
    fs::write(folder.join("digits"), "0123456789").unwrap();
    let mut tags = Vec::new();
    for path in ["/api/v1/files/digits", "/dav/digits"] {
        let ask = |method: &str, headers: &[&str]| by_basic(&house, &user, method, path, headers);
        let whole = ask("GET", &[]);
        assert_eq!((whole.status, whole.body.as_str()), (200, "0123456789"), "{path}");
        let head = ask("HEAD", &[]);
        assert_eq!((head.status, described(&head)), (200, described(&whole)), "{path}");
        let tag = whole.header("etag").unwrap_or_else(|| panic!("no ETag in {}", whole.head));
        for (range, status, place, text) in [
            ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
            ("bytes=-2", 206, Some("bytes 8-9/10"), "89"),
            ("bytes=-30", 206, Some("bytes 0-9/10"), "0123456789"),
            ("bytes=8-99", 206, Some("bytes 8-9/10"), "89"),
            ("bytes=0-1,2-3", 206, Some("bytes 0-3/10"), "0123"),
            ("bytes=0-1,8-9", 200, None, "0123456789"),
            ("lines=1-2", 200, None, "0123456789"),
        ] {
            let range = format!("Range: {range}");
            let part = ask("GET", &[&range]);
            assert_eq!((part.status, part.body.as_str()), (status, text), "{path} {range}");
            assert_eq!(part.header("content-range").as_deref(), place, "{path} {range}");
            assert_eq!(part.header("etag").as_deref(), Some(tag.as_str()), "{path} {range}");
            assert_eq!(described(&ask("HEAD", &[&range])), described(&whole), "{path} {range}");
        }
        let outside = ask("GET", &["Range: bytes=10-"]);
        assert_eq!((outside.status, outside.header("content-range").as_deref()), (416, Some("bytes */10")), "{path}");
        for (value, status) in [(tag.as_str(), 206), ("\"another\"", 200)] {
            let resumed = ask("GET", &["Range: bytes=5-", &format!("If-Range: {value}")]);
            assert_eq!(resumed.status, status, "{path} {value}");
        }
        let time = whole.header("last-modified").unwrap_or_else(|| panic!("no Last-Modified in {}", whole.head));
        for (name, value) in [("If-None-Match", &tag), ("If-Modified-Since", &time)] {
            for method in ["GET", "HEAD"] {
                let same = ask(method, &[&format!("{name}: {value}")]);
                assert_eq!((same.status, same.body.as_str()), (304, ""), "{path} {method} {name}");
                assert_eq!(same.header("etag").as_deref(), Some(tag.as_str()), "{path} {method} {name}");
            }
        }
        assert_eq!(ask("GET", &["If-Match: \"another\""]).status, 412, "{path}");
        tags.push(tag);
    }
    assert_eq!(tags[0], tags[1]);
}

#[test]
fn a_method_that_does_not_fit_is_answered_with_those_that_do() {
    let house = House::open();
    let user = house.newcomer("wrong-way").add();
    let folder = house.home().join("files/wrong-way");
    fs::create_dir_all(folder.join("folder")).unwrap();
    fs::write(folder.join("file"), "x").unwrap();
    for (method, path, fits) in [
        ("POST", "/api/v1/files/file", "PUT"),
        ("PUT", "/api/v1/list/", "GET"),
        ("DELETE", "/api/v1/me", "GET"),
        ("BREW", "/api/v1/move", "POST"),
        ("POST", "/", "GET"),
        ("POST", "/healthz", "HEAD"),
        ("GET", "/dav/folder", "PROPFIND"),
        ("HEAD", "/dav/folder/", "PROPFIND"),
        ("PUT", "/dav/folder", "PROPFIND"),
        ("MKCOL", "/dav/folder", "DELETE"),
        ("MKCOL", "/dav/file", "PUT"),
        ("BREW", "/dav/file", "GET"),
    ] {
        let answer = by_basic(&house, &user, method, path, &["Content-Length: 0"]);
        let allow = answer.header("allow").unwrap_or_default();
        let allowed: Vec<&str> = allow.split(", ").collect();
        assert_eq!(answer.status, 405, "{method} {path}: {}", answer.body);
        assert!(allowed.contains(&fits) && !allowed.contains(&method), "{method} {path}: {allow}");
    }
}
