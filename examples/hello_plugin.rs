//! Run: `cargo run --example hello_plugin -- run --plugin auth-open --plugin hello`
//! Try: `cargo run -- call hello/core/greet '{"name":"Ann"}' --user ann`
//!
//! A plugin with a class of its own: `greet` answers, `count` tells how often it did.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use jackfield_plugin_api::{
    Command, Context, Manifest, NoArguments, Plugin, Registrar, Result, manifest, register_plugin,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

struct Hello;

// Under this name it can be listed: `plugins = ["hello"]`.
register_plugin!(Hello);

impl Plugin for Hello {
    fn manifest(&self) -> Manifest {
        manifest!("hello").about("Greets, and counts its greetings.")
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let greetings = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&greetings);
        let greet = Command::define("hello", "core", "greet").about("Greets somebody by name.");
        let count = Command::define("hello", "core", "count").about("Tells how many were greeted.");
        registrar.command(greet.handler(move |cx, args| greet_by_name(cx, args, Arc::clone(&counted))));
        registrar.command(count.handler(move |_cx, _: NoArguments| {
            let count = greetings.load(Ordering::Relaxed);
            async move { Ok(Count { count }) }
        }));
        Ok(())
    }
}

// The data's schema, its check, and its description in the registry all come from this type.
#[derive(Deserialize, JsonSchema)]
struct Greet {
    /// Whom to greet.
    name: String,
}

#[derive(Serialize, JsonSchema)]
struct Greeting {
    /// What to say.
    greeting: String,
}

#[derive(Serialize, JsonSchema)]
struct Count {
    /// How many were greeted since the plugin was started.
    count: u64,
}

async fn greet_by_name(_cx: Context, args: Greet, greetings: Arc<AtomicU64>) -> Result<Greeting> {
    greetings.fetch_add(1, Ordering::Relaxed);
    Ok(Greeting { greeting: format!("Hello, {}!", args.name) })
}

fn main() -> std::process::ExitCode {
    jackfield::cli::main()
}
