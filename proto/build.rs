//! Compiles the .proto files with a compiler written in Rust, so that nothing has to be installed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 6] = [
    "segmentsource/event/v1/event.proto",
    "segmentsource/config/v1/config.proto",
    "segmentsource/ingest/v1/ingest.proto",
    "segmentsource/directory/v1/directory.proto",
    "segmentsource/queue/v1/queue.proto",
    "segmentsource/admin/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Served by gRPC reflection.
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        // Its Debug is written by hand, so that no secret is ever printed.
        .skip_debug(["segmentsource.config.v1.SecretValue"])
        .compile_fds(descriptors)?;
    Ok(())
}
