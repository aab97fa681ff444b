//! Files that are no plugin's library, or not one for this broker: each is refused with its reason.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::text;
use crate::support::{Broker, Options, Transport, code, fixture_library, jackfield};

/// A library that exports a table with these values at its head, and what `more` says.
const SOURCE: &str = r"
#include <stdint.h>
struct table { uint64_t magic; uint32_t size, major, minor, panics; const char *toolchain; uint64_t length; void *functions[14]; };
__attribute__((constructor)) static void loaded(void) {}
";

fn compile(directory: &Path, name: &str, table: &str) -> PathBuf {
    let (source, library) = (directory.join(format!("{name}.c")), directory.join(format!("{name}.so")));
    fs::write(&source, format!("{SOURCE}\n{table}\n")).unwrap();
    let built = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .status()
        .expect("a C compiler");
    assert!(built.success(), "{name}");
    library
}

/// The library whose table begins with these values.
fn with_head(directory: &Path, name: &str, magic: &str, numbers: [u32; 4]) -> PathBuf {
    let [size, major, minor, panics] = numbers;
    let head = format!("{magic}, {size}, {major}, {minor}, {panics}");
    compile(directory, name, &format!("const struct table jackfield_plugin_v1 = {{ {head} }};"))
}

fn written(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Files, each with what must be said of it.
fn bad_files(directory: &Path) -> Vec<(PathBuf, &'static str)> {
    const MAGIC: &str = "0x4a41434b464c4431ull";
    let whole = fs::read(compile(directory, "whole", "int jackfield_plugin_v1 = 1;")).unwrap();
    let mut foreign = whole.clone();
    // ELF's e_machine: SPARC.
    foreign[18] = 2;
    let fixture = fs::read(fixture_library()).unwrap();
    vec![
        (directory.join("none.so"), "No such file"),
        (directory.to_path_buf(), "it is no file"),
        (written(directory, "empty.so", b""), "an empty file"),
        (written(directory, "text.so", b"#!/bin/sh\necho hello\n"), "it is no shared library, but text"),
        (written(directory, "cut.so", &whole[..whole.len() - 1]), "it is truncated or damaged"),
        (written(directory, "half.so", &fixture[..fixture.len() / 2]), "it is truncated or damaged"),
        (written(directory, "head.so", &fixture[..100]), "it is truncated or damaged"),
        (written(directory, "foreign.so", &foreign), "it was built for"),
        (compile(directory, "other", "int other = 1;"), "it does not export the symbol jackfield_plugin_v1"),
        (compile(directory, "lost", "extern int nowhere; int *jackfield_plugin_v1 = &nowhere;"), "nowhere"),
        (with_head(directory, "magic", "42", [152, 1, 0, 1]), "expected the magic number"),
        (with_head(directory, "major", MAGIC, [152, 2, 0, 1]), "expected ABI version 1, found 2"),
        (with_head(directory, "minor", MAGIC, [152, 1, 999, 1]), "found 1.999: it needs a newer broker"),
        (with_head(directory, "short", MAGIC, [40, 1, 0, 1]), "found 40"),
        (with_head(directory, "abort", MAGIC, [152, 1, 0, 2]), "panic = \"abort\""),
        (with_head(directory, "idle", MAGIC, [152, 1, 0, 1]), "expected the function 'manifest', found NULL"),
    ]
}

#[tokio::test]
async fn each_with_its_reason_and_the_broker_untouched() {
    let directory = TempDir::new().unwrap();
    let broker = Broker::start(Options::default()).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    admin.ok("core/event/subscribe", json!({"class": "core", "subclass": "plugin"})).await;
    let before = admin.ok("core/plugin/list", json!({})).await;
    // Twice: what was refused once is refused again.
    for (path, reason) in [bad_files(directory.path()), bad_files(directory.path())].concat() {
        let (code, said) = admin.err("core/plugin/load", json!({"path": text(&path)})).await;
        assert_eq!(code, code::INVALID_VALUE, "{said}");
        assert!(said.contains(reason) && said.contains(text(&path)), "{}: {said}", path.display());
        let event = admin.event().await;
        assert_eq!((&event["type"], &event["body"]["error"]), (&json!("failed"), &json!(said)));
        assert_eq!(admin.ok("core/plugin/list", json!({})).await, before);
    }
    admin.ok("core/plugin/load", json!({"path": text(&fixture_library())})).await;
    admin.ok("fixture/core/echo", json!({})).await;
}

#[tokio::test]
async fn plugin_check_says_the_same() {
    let directory = TempDir::new().unwrap();
    for (path, reason) in bad_files(directory.path()) {
        let output = jackfield(directory.path(), &["plugin", "check", text(&path)]).await.exits(1);
        assert_eq!(output.stdout, "");
        assert!(output.stderr.contains(reason), "{}: {}", path.display(), output.stderr);
    }
}

#[tokio::test]
async fn a_broker_does_not_start_with_one() {
    let directory = TempDir::new().unwrap();
    let cut = written(directory.path(), "cut.so", &fs::read(fixture_library()).unwrap()[..5000]);
    let output = jackfield(directory.path(), &["check", "--plugin", text(&cut)]).await.exits(2);
    assert!(output.stderr.contains("truncated or damaged"), "{}", output.stderr);
}

#[tokio::test]
async fn what_a_library_lacked_may_be_there_the_next_time() {
    let directory = TempDir::new().unwrap();
    let place = text(directory.path());
    let needed = directory.path().join("libneeded.so");
    let build = |source: &str, library: &Path, more: &[&str]| {
        let file = directory.path().join("source.c");
        fs::write(&file, source).unwrap();
        let mut cc = std::process::Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).arg(library).arg(&file).args(more);
        assert!(cc.status().expect("a C compiler").success());
    };
    let library = directory.path().join("needs.so");
    build("int needed(void) { return 1; }", &needed, &[]);
    let source = "int needed(void);\nint (*jackfield_plugin_v1)(void) = needed;";
    build(source, &library, &["-L", place, "-lneeded", &format!("-Wl,-rpath,{place}")]);
    let there = directory.path().join("elsewhere");
    fs::rename(&needed, &there).unwrap();
    let broker = Broker::start(Options::default()).await;
    let mut admin = broker.admin(Transport::Tcp).await;
    let data = json!({"path": text(&library)});
    let (_, said) = admin.err("core/plugin/load", data.clone()).await;
    assert!(said.contains("the system does not open it: libneeded.so"), "{said}");
    fs::rename(&there, &needed).unwrap();
    let (_, said) = admin.err("core/plugin/load", data).await;
    assert!(said.contains("expected the magic number"), "{said}");
}
