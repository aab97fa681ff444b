//! `abi` says what `jackfield_plugin.h` says: a C compiler is asked.

use std::{collections::BTreeMap, fmt::Write, mem::offset_of, path::Path, process::Command};

use crate::ffi::abi;

/// What a number of the ABI is called, in C.
type Numbers = BTreeMap<String, u64>;

/// The sizes of structures and the places of their fields, as Rust has them. Where a field's name differs it stands in
/// brackets, for it is no word that Rust or C++ has left.
macro_rules! layout {
    ($numbers:ident, $($name:literal = $type:ident { $($field:ident $([$c:literal])?),+ $(,)? })+) => {
        $({
            let c = concat!("struct jackfield_", $name);
            $numbers.insert(format!("sizeof({c})"), size_of::<abi::$type>() as u64);
            $({
                let field = [stringify!($field) $(, $c)?].into_iter().next_back().unwrap_or_default();
                $numbers.insert(format!("offsetof({c}, {field})"), offset_of!(abi::$type, $field) as u64);
            })+
        })+
    };
}

fn in_rust() -> Numbers {
    let mut numbers = Numbers::new();
    layout!(numbers,
        "completion" = Completion { ctx, done, progress }
        "caller" = Caller { connection, who, flags, service, remote, user, session_id }
        "request" = Request { call, caller, class["class_name"], subclass, cmd, data }
        "event" = Event { class["class_name"], subclass, kind["type"], obj_id, service, body }
        "host" = Host {
            size, abi_major, abi_minor, reserved, log_level, log, ask, cancel, ack, end_session, caller, counter_add,
            gauge_set,
        }
        "plugin" = PluginTable {
            magic, size, abi_major, abi_minor, panic_strategy, toolchain, manifest, create, register_all, call,
            authenticate, authorize, filter_event, session_changed, log, broker_log, run, stop, cancel, destroy,
        }
    );
    let constants = [
        ("sizeof(struct jackfield_text)", size_of::<abi::Text>() as u64),
        ("JACKFIELD_MAGIC", abi::MAGIC),
        ("JACKFIELD_ABI_MAJOR", abi::ABI_MAJOR.into()),
        ("JACKFIELD_ABI_MINOR", abi::ABI_MINOR.into()),
        ("JACKFIELD_UNWINDS", abi::UNWINDS.into()),
        ("JACKFIELD_ABORTS", abi::ABORTS.into()),
        ("JACKFIELD_ADMINISTRATOR", abi::ADMINISTRATOR.into()),
        ("JACKFIELD_MORE", abi::MORE.into()),
        ("JACKFIELD_OK", abi::Status::Ok as u64),
        ("JACKFIELD_ERROR", abi::Status::Error as u64),
        ("JACKFIELD_CONTINUE", abi::Status::Continue as u64),
        ("JACKFIELD_DROP", abi::Status::Drop as u64),
        ("JACKFIELD_PANIC", abi::Status::Panic as u64),
        ("JACKFIELD_CANCELLED", abi::Status::Cancelled as u64),
        ("JACKFIELD_FIRED", abi::When::Fired as u64),
        ("JACKFIELD_DELIVERING", abi::When::Delivering as u64),
        ("JACKFIELD_RECEIVED", abi::When::Received as u64),
        // `describe` of the broker's side writes these as they stand.
        ("JACKFIELD_ANONYMOUS", 0),
        ("JACKFIELD_SESSION", 1),
        ("JACKFIELD_PLUGIN", 2),
    ];
    numbers.extend(constants.map(|(name, number)| (name.to_owned(), number)));
    numbers
}

/// A program that prints what the header says of these.
fn program(numbers: &Numbers) -> String {
    let mut text = String::from(
        "#include \"jackfield_plugin.h\"\n#include <inttypes.h>\n#include <stdio.h>\n#include <string.h>\n\
         static const struct jackfield_text text = JACKFIELD_TEXT(\"ab\");\nint main(void) {\n\
         if (text.len != 2 || strcmp(JACKFIELD_PLUGIN_SYMBOL, \"jackfield_plugin_v1\") != 0) return 1;\n",
    );
    for expression in numbers.keys() {
        writeln!(text, "printf(\"%s = %\" PRIu64 \"\\n\", \"{expression}\", (uint64_t)({expression}));")
            .unwrap();
    }
    text + "return 0;\n}\n"
}

/// What the program says, built by a compiler of that language.
fn said(compiler: &str, standard: &str, source: &str, directory: &Path) -> Numbers {
    let extension = if compiler == "c++" { "cc" } else { "c" };
    let (file, binary) = (directory.join(format!("abi.{extension}")), directory.join("abi"));
    std::fs::write(&file, source).unwrap();
    let built = Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/include"))
        .arg(&file)
        .arg("-o")
        .arg(&binary)
        .output()
        .expect("a compiler");
    assert!(built.status.success(), "{compiler} {standard}: {}", String::from_utf8_lossy(&built.stderr));
    let output = Command::new(&binary).output().unwrap();
    assert!(output.status.success(), "{compiler} {standard}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (name, number) = line.rsplit_once(" = ").unwrap();
        (name.to_owned(), number.parse().unwrap())
    };
    text.lines().map(line).collect()
}

#[test]
#[cfg_attr(miri, ignore = "runs a compiler")]
fn the_header_says_the_same() {
    let directory = std::env::temp_dir().join(format!("jackfield-header-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let expected = in_rust();
    let source = program(&expected);
    for (compiler, standard) in [("cc", "-std=c11"), ("c++", "-std=c++17")] {
        assert_eq!(said(compiler, standard, &source, &directory), expected, "{compiler} {standard}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
