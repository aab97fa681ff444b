//! The command line: one command, run to its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{sources::repository, within};

/// What a command left behind.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Asserts the exit status, showing everything when it is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {:?}", self.stdout))
    }
}

/// The binary, or that of an example, with a clean environment and `directory` to work in.
pub fn command(example: Option<&str>, directory: &Path) -> Command {
    let mut command = Command::new(example.map_or_else(binary, example_binary));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("JACKFIELD_") {
            command.env_remove(key);
        }
    }
    command.env_remove("RUST_LOG").current_dir(directory).kill_on_drop(true);
    command
}

/// `jackfield`, to be given arguments; works in `directory`.
pub fn jackfield_command(directory: &Path, args: &[&str]) -> Command {
    let mut command = command(None, directory);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same with the fixture broker's binary, which has the same command line.
pub fn fixture_command(directory: &Path, args: &[&str]) -> Command {
    let mut command = command(Some("fixture"), directory);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `jackfield ARGS` in `directory` to its end.
pub async fn jackfield(directory: &Path, args: &[&str]) -> Output {
    run(jackfield_command(directory, args), "").await
}

/// The same, with something on standard input.
pub async fn jackfield_with_input(directory: &Path, args: &[&str], input: &str) -> Output {
    run(jackfield_command(directory, args), input).await
}

/// Runs a command to its end.
pub async fn run(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that does not read its input may be gone already.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    let output = within("the command's end", child.wait_with_output()).await.unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The broker: another than the tests were built with where `BROKER_UNDER_TEST` says so. What else is built for tests is
/// beside it.
fn binary() -> PathBuf {
    released().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_jackfield")))
}

/// The broker of `BROKER_UNDER_TEST`, which was built as it is used.
pub fn released() -> Option<PathBuf> {
    std::env::var_os("BROKER_UNDER_TEST").map(|path| repository(&path.to_string_lossy()))
}

/// The fixture plugin as a library.
pub fn fixture_library() -> PathBuf {
    example_library("fixture_library")
}

/// An example that is a library.
pub fn example_library(name: &str) -> PathBuf {
    let name = format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    binary().parent().unwrap().join("examples").join(name)
}

/// Builds a library from a C source of the repository, with the headers in `include`, a directory there too.
pub fn c_library(directory: &Path, source: &str, include: &str) -> PathBuf {
    let library = directory.join(format!("plugin{}", std::env::consts::DLL_SUFFIX));
    let built = std::process::Command::new("cc")
        .args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-I"])
        .arg(super::sources::repository(include))
        .arg("-o")
        .args([&library, &super::sources::repository(source)])
        .status()
        .expect("a C compiler");
    assert!(built.success(), "{source}");
    library
}

fn example_binary(name: &str) -> PathBuf {
    binary().parent().unwrap().join("examples").join(name)
}
