//! A plugin that shares nothing with the broker that loads it: built by itself, unoptimised, with another version of
//! tokio, and with an allocator of its own.

use std::{io, time::Duration};

use jackfield_plugin_api::{
    Command, Context, Error, Manifest, Plugin, Registrar, Result, export_plugin, manifest,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Foreign;

impl Plugin for Foreign {
    fn manifest(&self) -> Manifest {
        manifest!("foreign")
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        registrar.command(Command::define("foreign", "core", "exchange").handler(exchange));
        Ok(())
    }
}

#[derive(Deserialize, JsonSchema)]
struct Exchange {
    /// Where to connect.
    port: u16,
    /// What to send there.
    text: String,
    /// How many milliseconds to wait first.
    after: u64,
}

#[derive(Serialize, JsonSchema)]
struct Exchanged {
    /// What came back.
    text: String,
    /// Who asked.
    user: String,
    /// How many milliseconds the wait took.
    waited: u128,
    /// Whether the library was built as for debugging.
    debug: bool,
}

/// Waits, and sends text over a connection in a task of its own.
async fn exchange(cx: Context, args: Exchange) -> Result<Exchanged> {
    let Exchange { port, text, after } = args;
    let began = Instant::now();
    sleep(Duration::from_millis(after)).await;
    let waited = began.elapsed().as_millis();
    let task = tokio::spawn(there_and_back(port, text));
    let text = task.await.map_err(failed)?.map_err(failed)?;
    Ok(Exchanged { text, user: cx.identity()?.user.to_string(), waited, debug: cfg!(debug_assertions) })
}

async fn there_and_back(port: u16, text: String) -> io::Result<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.write_all(text.as_bytes()).await?;
    socket.shutdown().await?;
    let mut back = String::new();
    socket.read_to_string(&mut back).await?;
    Ok(back)
}

fn failed(error: impl ToString) -> Error {
    Error::custom(200_001, error.to_string())
}

export_plugin!(Foreign);
