//! Both sides of the border in one process: a plugin made with the macro, and the host's side of this module.

use super::*;
use crate::{Begin, Begun, Enrolment, Expects, Factor, Failure, Plugin, Settings, Used, User, Verdict, Verify};

struct Echo(String);

impl Plugin for Echo {
    fn open(settings: &Settings<'_>) -> Result<Self, Failure> {
        Ok(Self(settings.required("word")?.to_owned()))
    }
}

impl Factor for Echo {
    fn serves(&self, user: &User<'_>) -> Result<bool, Failure> {
        Ok(user.extra("pager").is_some())
    }
    fn enroll(&self, user: &User<'_>) -> Result<Enrolment, Failure> {
        Ok(Enrolment { secret: vec![0, 255], uri: format!("echo:{}", user.name()?) })
    }
    fn begin(&self, ask: &Begin<'_>) -> Result<Begun, Failure> {
        match ask.code()? {
            "panic" => panic!("a secret word"),
            "away" => Err(Failure::unavailable("the gateway is away")),
            _ => Ok(Begun { prompt: self.0.clone(), expects: Expects::Nothing, state: b"state".to_vec() }),
        }
    }
    fn verify(&self, ask: &Verify<'_>) -> Result<Verdict, Failure> {
        Ok(match (ask.answer(), ask.state()) {
            ("right", b"state") => Verdict::Right(Used::Step(ask.now() / 30)),
            ("later", _) => Verdict::Later,
            _ => Verdict::Wrong,
        })
    }
}

const SETTINGS: &str = r#"{"type":"object"}"#;
crate::export! {
    plugin: Echo,
    name: "echo",
    summary: "says the word",
    settings: SETTINGS,
    roles: [delivers, verifies, enrols],
    flags: [single_threaded, waits_for_person],
}

unsafe extern "C" {
    safe fn lockgate_plugin_v1() -> *const PluginTable;
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let field = |(name, value): &(&str, &str)| ((*name).to_owned(), Zeroizing::new(value.as_bytes().to_vec()));
    pairs.iter().map(field).collect()
}

fn table() -> Table {
    // SAFETY: the plugin of this module, which is never unloaded.
    unsafe { Table::read(lockgate_plugin_v1()) }.unwrap()
}

fn instance() -> Instance {
    table().open(fields(&[("setting.word", "say")]), 0).unwrap()
}

fn field<'a>(answer: &'a Fields, name: &str) -> Option<&'a [u8]> {
    answer.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
}

#[test]
fn the_table_says_what_the_macro_was_given() {
    let table = table();

    assert_eq!((table.name.as_str(), table.settings.as_str()), ("echo", SETTINGS));
    assert_eq!(table.roles(), abi::DELIVERS | abi::VERIFIES);
    assert_eq!(table.flags(), abi::SINGLE_THREADED | abi::WAITS_FOR_PERSON);
    assert!(table.enrols());
}

#[test]
fn a_missing_setting_refuses_the_instance_and_names_the_key() {
    let refused = table().open(Fields::new(), 0).err();

    assert_eq!(refused.as_deref(), Some("the setting word is missing"));
}

#[test]
fn what_goes_in_and_out_is_read_by_name() {
    let instance = instance();
    let user = [("user.name", "alice"), ("user.x_pager", "17"), ("code", "123456")];

    assert_eq!(instance.call(What::Serves, fields(&user), 0).0, abi::OK);
    assert_eq!(instance.call(What::Serves, Fields::new(), 0).0, abi::NO);
    let (status, enrolled) = instance.call(What::Enroll, fields(&user), 0);
    assert_eq!((status, field(&enrolled, "secret")), (abi::OK, Some(&[0, 255][..])));
    let (status, begun) = instance.call(What::Begin, fields(&user), 0);
    assert_eq!((status, field(&begun, "prompt")), (abi::OK, Some(&b"say"[..])));
    assert_eq!(field(&begun, "expects"), Some(&b"nothing"[..]));
    let (status, right) = instance.call(What::Verify, fields(&[("answer", "right"), ("state", "state")]), 90);
    assert_eq!((status, field(&right, "used")), (abi::OK, Some(&b"3"[..])));
    let later = instance.call(What::Verify, fields(&[("answer", "later")]), 90);
    assert_eq!(later.0, abi::LATER);
    instance.close();
}

#[test]
fn a_panic_becomes_an_error_that_does_not_repeat_its_words() {
    let (status, answer) = instance().call(What::Begin, fields(&[("code", "panic")]), 0);

    assert_eq!(status, abi::ERROR);
    assert_eq!(field(&answer, "error"), Some(&b"the plugin panicked"[..]));
}

#[test]
fn a_failure_carries_its_reason_to_the_host() {
    let (status, answer) = instance().call(What::Begin, fields(&[("code", "away")]), 0);

    assert_eq!(status, abi::UNAVAILABLE);
    assert_eq!(field(&answer, "error"), Some(&b"the gateway is away"[..]));
}

#[test]
fn a_function_that_the_plugin_lacks_is_an_error() {
    assert_eq!(instance().call(What::CheckPassword, Fields::new(), 0).0, abi::ERROR);
}

#[test]
fn a_value_too_large_or_a_null_with_a_length_is_refused_before_it_is_read() {
    let (_, answer) = exchange(Fields::new(), 0, |call| {
        // SAFETY: the call is alive; the values below are refused unread, which is what is tried here.
        unsafe {
            assert_eq!(set(call, c"big".as_ptr(), ptr::dangling(), usize::MAX), 0);
            assert_eq!(set(call, c"null".as_ptr(), ptr::null(), 4), 0);
            assert_eq!(set(call, c"".as_ptr(), b"x".as_ptr(), 1), 0);
            assert_eq!(set(ptr::null_mut(), c"n".as_ptr(), b"x".as_ptr(), 1), 0);
        }
        abi::OK
    });

    assert!(answer.is_empty());
}

#[test]
fn an_answer_is_bounded_in_fields_and_in_bytes() {
    let value = vec![b'x'; abi::MAX_VALUE];
    let (_, answer) = exchange(Fields::new(), 0, |call| {
        for at in 0..abi::MAX_FIELDS * 2 {
            let name = CString::new(at.to_string()).unwrap();
            // SAFETY: the call is alive, name and value are ours.
            unsafe { set(call, name.as_ptr(), value.as_ptr(), at % 2 * value.len()) };
        }
        abi::OK
    });

    assert!(answer.len() <= abi::MAX_FIELDS);
    assert!(answer.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= MAX_ANSWER);
}

#[test]
fn a_table_of_another_abi_or_size_is_refused_with_both_numbers() {
    let table = |number, size| PluginTable {
        abi: number,
        size,
        roles: abi::EVENTS,
        flags: 0,
        name: c"n".as_ptr(),
        version: c"1".as_ptr(),
        summary: c"s".as_ptr(),
        settings: ptr::null(),
        open: None,
        close: None,
        serves: None,
        enroll: None,
        begin: None,
        verify: None,
        check_password: None,
        event: None,
    };
    let read = |table: PluginTable| {
        // SAFETY: the table is leaked, so it lives as long as the process.
        unsafe { Table::read(Box::leak(Box::new(table))) }.err().unwrap().to_string()
    };
    let right = size_of::<PluginTable>() as u32;

    assert!(read(table(2, right)).contains("ABI 2, this Lockgate speaks ABI 1"));
    assert!(read(table(1, right - 8)).contains(&format!("{} bytes", right - 8)));
    assert!(read(table(1, u32::MAX)).contains("4294967295 bytes"));
    assert!(read(table(1, right)).contains("open"));
}
