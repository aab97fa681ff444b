//! Notes which compiler builds this, for plugins that are libraries to tell.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    println!("cargo::rustc-env=JACKFIELD_TOOLCHAIN={}", version.as_deref().map_or("rustc", str::trim));
}
