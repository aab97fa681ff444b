//! Has the linker put side by side what runs while the broker starts: `link/order.ld`.

use std::{env, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=link/order.ld");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // mold knows no such scripts. Without it the broker is the same, and takes 6 MB more.
    let mold = env::var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("mold"));
    if is("CARGO_CFG_TARGET_OS", "linux") && is("PROFILE", "release") && !mold {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("link/order.ld");
        println!("cargo::rustc-link-arg-bin=jackfield=-Wl,-T,{}", script.display());
    }
}
