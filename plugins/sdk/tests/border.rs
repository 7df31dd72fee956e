//! The header and the Rust tables are one border: every size, offset and constant is compared.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

use lockgate_plugin::abi::{self, HostTable, PluginTable};

/// What Rust says, under the expression that C is asked for the same.
fn rust_says() -> Vec<(&'static str, usize)> {
    macro_rules! offsets {
        ($c:literal, $rust:ty: $($field:ident)*) => {
            vec![
                (concat!("sizeof(", $c, ")"), size_of::<$rust>()),
                $((concat!("offsetof(", $c, ", ", stringify!($field), ")"), offset_of!($rust, $field)),)*
            ]
        };
    }
    macro_rules! constants {
        ($($name:ident)*) => { vec![$((concat!("LOCKGATE_", stringify!($name)), abi::$name as usize),)*] };
    }
    let mut all = offsets!("lockgate_host", HostTable: abi size get set log now);
    all.extend(offsets!("lockgate_plugin", PluginTable:
        abi size roles flags name version summary settings
        open close serves enroll begin verify check_password event));
    all.extend(constants!(
        ABI ERROR OK NO LATER UNAVAILABLE DELIVERS VERIFIES DIRECTORY EVENTS
        SINGLE_THREADED WAITS_FOR_PERSON LOG_ERROR LOG_WARN LOG_INFO LOG_DEBUG
        MAX_NAME MAX_VALUE MAX_FIELDS));
    all
}

fn compile(source: &str, name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, program) = (folder.join(format!("{name}.c")), folder.join(name));
    std::fs::write(&file, source).unwrap();
    let made = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", env!("CARGO_MANIFEST_DIR")])
        .arg(&file)
        .arg("-o")
        .arg(&program)
        .output()
        .expect("a C compiler named cc");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    program
}

#[test]
fn the_header_and_the_rust_tables_have_the_same_sizes_offsets_and_constants() {
    let asked = rust_says();
    let lines: String = asked.iter().map(|(what, _)| format!("  printf(\"%zu\\n\", (size_t)({what}));\n")).collect();
    let program = compile(
        &format!("#include <stdio.h>\n#include \"lockgate_plugin.h\"\nint main(void) {{\n{lines}  return 0;\n}}\n"),
        "border",
    );

    let said = String::from_utf8(Command::new(program).output().unwrap().stdout).unwrap();

    let said: Vec<usize> = said.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(said.len(), asked.len());
    for ((what, rust), c) in asked.into_iter().zip(said) {
        assert_eq!(rust, c, "{what}");
    }
}

#[test]
fn the_functions_of_the_header_have_the_types_that_rust_calls_them_with() {
    // Assigned both ways without a cast, under -Werror: a difference in a parameter does not compile.
    compile(
        "#include \"lockgate_plugin.h\"
static int32_t get(lockgate_call *c, const char *n, const uint8_t **v, size_t *l) { (void)c; (void)n; (void)v; (void)l; return 0; }
static int32_t set(lockgate_call *c, const char *n, const uint8_t *v, size_t l) { (void)c; (void)n; (void)v; (void)l; return 0; }
static void log_(uint32_t l, const char *t, size_t n) { (void)l; (void)t; (void)n; }
static uint64_t now(lockgate_call *c) { (void)c; return 0; }
static int32_t open_(const lockgate_host *h, lockgate_call *c, void **i) { (void)h; (void)c; (void)i; return LOCKGATE_OK; }
static void close_(void *i) { (void)i; }
static int32_t any(void *i, lockgate_call *c) { (void)i; (void)c; return LOCKGATE_NO; }
static const lockgate_plugin plugin = { LOCKGATE_ABI, sizeof(lockgate_plugin), LOCKGATE_EVENTS, 0, \"n\", \"1\", \"s\", NULL,
  open_, close_, any, any, any, any, any, any };
const lockgate_plugin *lockgate_plugin_v1(void) { return &plugin; }
int main(void) {
  lockgate_host host = { LOCKGATE_ABI, sizeof(lockgate_host), get, set, log_, now };
  lockgate_plugin_entry entry = lockgate_plugin_v1;
  (void)host;
  return entry()->abi == LOCKGATE_ABI ? 0 : 1;
}
",
        "functions",
    );
}
