//! Plugins that die, hang or are no plugins: the login that needed them is refused, and the server goes on.

use super::{enrolled_for_each_door, sms::house_with};
use crate::{
    clients::{Client, Verdict, every_door},
    house::House,
    newcomer::User,
    process,
    program::program,
    standins::provider::{Mood, Provider},
    waiting::{self, PATIENCE},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant},
};

/// How long a call to a plugin may take, with what a login around it takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(25);

/// Waits until the app's code opens the door again, with a fresh user for each try: a code is good once.
fn recovers(house: &House, client: &dyn Client) {
    let mut tries = 0;
    let back = waiting::holds(Duration::from_secs(60), || {
        tries += 1;
        let user = house.newcomer(&format!("after{tries}-{}", client.name())).enrolled().add();
        client.login(house, &user.with(&user.code())).verdict == Verdict::Granted
    });
    assert!(back, "{} does not open again:\n{}", client.name(), house.log());
}

#[test]
fn a_plugin_killed_while_it_sends_ends_in_a_refusal_on_every_door() {
    let doors = every_door(&House::open()).len();
    for n in 0..doors {
        // A house each: a worker that died often rests for a while.
        let provider = Provider::open();
        let house = house_with(&provider, &[]);
        let (client, number) = (every_door(&house).swap_remove(n), "+15550200");
        let user = house.newcomer(client.name()).with(&["--otp", "--phone", number]).add();
        provider.be(Mood::Hangs);
        thread::scope(|scope| {
            let login = scope.spawn(|| client.login(&house, &user.with_password()));
            assert!(provider.code(number, 1).is_some(), "{}: the plugin sent nothing", client.name());
            process::signal(process::worker(house.pid(), "sms"), "KILL");
            login.join().unwrap().must_be_refused(client.name());
        });
        assert!(house.logs(&["WARN", "sms", "worker"]), "no line about the plugin:\n{}", house.log());

        provider.be(Mood::Works);
        let (mut tries, back) = (0, Instant::now() + Duration::from_secs(60));
        loop {
            tries += 1;
            let (name, number) = (format!("later{tries}"), format!("+1555021{tries}"));
            let user = house.newcomer(&name).with(&["--otp", "--phone", &number]).add();
            let patient = || waiting::until(Duration::from_secs(5), || provider.sent_to(&number).first()?.form("Body"));
            if client.login(&house, &user.asking(&patient)).verdict == Verdict::Granted {
                break;
            }
            assert!(Instant::now() < back, "{}: the plugin does not come back:\n{}", client.name(), house.log());
        }
    }
}

#[test]
fn a_plugin_killed_between_password_and_code_lets_nobody_in_without_a_right_code() {
    let house = House::open();
    let interactive = |client: &dyn Client| matches!(client.protocol(), "sftp" | "http" | "https");
    for (client, user) in enrolled_for_each_door(&house).into_iter().filter(|(client, _)| interactive(&**client)) {
        let wrong = user.app().wrong_code();
        let killed = || {
            for worker in process::workers(house.pid(), "totp") {
                process::signal(worker, "KILL");
            }
            Some(wrong.clone())
        };
        client.login(&house, &user.asking(&killed)).must_be_refused(client.name());
    }
    recovers(&house, &*every_door(&house)[0]);
}

#[test]
fn a_plugin_that_hangs_ends_in_a_refusal_in_time_and_is_replaced() {
    let house = House::open();
    let users = enrolled_for_each_door(&house);
    // The first login starts the worker.
    let warm = house.newcomer("warm").enrolled().add();
    users[0].0.login(&house, &warm.with(&warm.code())).must_be_granted("before");
    for (client, user) in &users {
        let code = user.code();
        for worker in process::workers(house.pid(), "totp") {
            process::signal(worker, "STOP");
        }
        let began = Instant::now();
        let reply = client.login(&house, &user.with(&code));
        // Where the worker was already replaced the code is right; where it hung, the answer is no.
        assert_ne!(reply.verdict, Verdict::Broken, "{}: {}", client.name(), reply.said);
        assert!(began.elapsed() < DEADLINE, "{} took {:?}", client.name(), began.elapsed());
        client.login(&house, &user.with_password()).must_be_refused(client.name());
    }
    recovers(&house, &*users[0].0);
    assert!(house.logs(&["totp"]), "no line about the plugin:\n{}", house.log());
}

#[test]
fn where_the_first_channel_fails_the_next_one_of_the_user_serves() {
    let provider = Provider::open();
    let house = house_with(&provider, &[("otp_channels", "sms,totp")]);
    provider.be(Mood::Answers(500));
    for (n, client) in every_door(&house).into_iter().enumerate() {
        let number = format!("+155503{n:02}");
        let user = house.newcomer(client.name()).with(&["--otp", "--phone", &number]).enrolled().add();
        let app = || provider.code(&number, 1).map(|_| user.code());
        client.login(&house, &user.asking(&app)).must_be_granted(client.name());
    }
}

#[test]
fn a_factor_whose_plugin_is_missing_is_refused_and_the_log_names_it() {
    let mut house = House::made();
    let user = house.newcomer("bereft").enrolled().add();
    let lonely = house.scratch("bin");
    fs::create_dir_all(&lonely).unwrap();
    let copy = lonely.join("lockgate");
    fs::copy(program(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    house.use_program(copy);
    missing_plugin_is_told(&mut house, &user);
}

/// Either the start is refused in one line that names the plugin, or every login that needs it is refused.
fn missing_plugin_is_told(house: &mut House, user: &User) {
    house.begin(house.serve_command());
    let ready = waiting::until(PATIENCE, || {
        let up = house.run(&["status", "--json"]).code() == 0;
        (up || !process::is_alive(house.pid())).then_some(up)
    });
    assert!(house.logs(&["totp"]), "the log does not name the plugin:\n{}", house.log());
    if ready == Some(true) {
        house.kill();
        house.serve();
        for client in every_door(house) {
            client.login(house, &user.with(&user.app().wrong_code())).must_be_refused(client.name());
            client.login(house, &user.with_password()).must_be_refused(client.name());
        }
        every_door(house)[0]
            .login(house, &user.with(&user.code()))
            .must_be_refused("a right code that nobody can check");
    }
}

#[test]
fn a_file_that_is_no_plugin_is_told_from_one_that_is() {
    let house = House::made();
    let garbage = house.scratch("lockgate_garbage.so");
    fs::write(&garbage, [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 9, 9, 9]).unwrap();
    let ran = house.run(&["plugin", "check", garbage.to_str().unwrap()]);
    assert!(ran.complaint().contains("lockgate_garbage.so"), "{ran}");
    let list = house.run(&["plugin", "list", "--json"]).json();
    let names: Vec<&str> = list.as_array().unwrap().iter().filter_map(|plugin| plugin["name"].as_str()).collect();
    for name in ["totp", "sms", "email"] {
        assert!(names.contains(&name), "{list}");
    }
}
