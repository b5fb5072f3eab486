//! Another time of day for the program: a shim (`tools/clock`) is loaded into it.

use std::{process::Command, time::Duration};

use crate::{process::root, server::Launch, site::Site};

/// The program to be started then lives this long ago.
///
/// # Panics
/// When there is no C compiler (`cc`).
#[must_use]
pub fn ago(site: &Site, launch: Launch, ago: Duration) -> Launch {
    let library = site.path().join("clock.so");
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library);
    cc.arg(root().join("tests/tools/clock/shim.c")).arg("-ldl");
    let built = cc.status().expect("there is a C compiler, `cc`");
    assert!(built.success(), "the shim is built: {built}");
    launch
        .env("LD_PRELOAD", &library.display().to_string())
        .env("CLOCK_SHIFT", &format!("-{}", ago.as_secs()))
}
