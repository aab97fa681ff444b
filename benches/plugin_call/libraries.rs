//! Plugins in libraries, built and loaded.

use std::{
    env::consts::{DLL_PREFIX, DLL_SUFFIX},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use jackfield::{
    config::PluginRef,
    plugin::{Candidate, Loaded},
};
use jackfield_plugin_api::Host;

/// Loads a library's plugin.
pub(crate) fn load(path: PathBuf, host: Arc<dyn Host>) -> Arc<Loaded> {
    let found = Candidate::find(&PluginRef::Library(path), &[]).unwrap();
    found.register(serde_json::json!({}), host).unwrap()
}

/// The one in Rust, built as a user would: in release, for itself.
pub(crate) fn in_rust() -> PathBuf {
    let release = release();
    let target = release.parent().unwrap();
    run(Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "jackfield-benches",
            "--example",
            "echo_library",
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    release.join("examples").join(format!("{DLL_PREFIX}echo_library{DLL_SUFFIX}"))
}

/// The one in C.
pub(crate) fn in_c() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = release().join(format!("{DLL_PREFIX}echo{DLL_SUFFIX}"));
    run(Command::new("cc")
        .args(["-std=c11", "-O2", "-shared", "-fPIC", "-I"])
        .arg(here.join("../plugin-api/include"))
        .arg("-o")
        .arg(&library)
        .arg(here.join("plugin_call/echo.c")));
    library
}

/// The directory of what is built for release: this is `deps/plugin_call-…` in it.
fn release() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf()
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
