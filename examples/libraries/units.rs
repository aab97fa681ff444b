//! Build: `cargo build -p jackfield --example units`
//! Run: `cargo run -- run --plugin auth-open --plugin target/debug/examples/libunits.so`
//! Try: `cargo run -- call units/core/convert '{"value":5,"from":"km","to":"mile"}' --user ann`
//!
//! A plugin in a library of its own: one command with types, and one that takes its time.

use std::time::Duration;

use jackfield_plugin_api::{
    Command, Context, Error, Manifest, Plugin, Registrar, Result, export_plugin, manifest,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

struct Units;

// This line makes it a library that a broker can load. The crate's type is `cdylib`.
export_plugin!(Units);

impl Plugin for Units {
    fn manifest(&self) -> Manifest {
        manifest!("units").about("Converts lengths.")
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        let convert = Command::define("units", "core", "convert").about("Converts a length.");
        let measure = Command::define("units", "core", "measure").about("Measures, which takes a moment.");
        registrar.command(convert.handler(convert_length)).command(measure.handler(take_a_while));
        Ok(())
    }
}

// The data's schema, its check, and its description in the registry all come from this type.
#[derive(Deserialize, JsonSchema)]
struct Convert {
    /// How long it is.
    value: f64,
    /// In which unit that is.
    from: Unit,
    /// In which unit it is wanted.
    to: Unit,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Unit {
    M,
    Km,
    Mile,
}

impl Unit {
    const fn metres(self) -> f64 {
        match self {
            Self::M => 1.0,
            Self::Km => 1000.0,
            Self::Mile => 1609.344,
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct Length {
    /// The length in the unit that was wanted.
    value: f64,
}

async fn convert_length(_cx: Context, args: Convert) -> Result<Length> {
    if args.value < 0.0 {
        return Err(Error::custom(200_001, "No length is negative"));
    }
    Ok(Length { value: args.value * args.from.metres() / args.to.metres() })
}

#[derive(Deserialize, JsonSchema)]
struct Measure {
    /// How many milliseconds it takes.
    #[serde(default)]
    #[schemars(range(max = 10_000))]
    milliseconds: u64,
}

async fn take_a_while(cx: Context, args: Measure) -> Result<Length> {
    // The library has a runtime of its own: timers, tasks and sockets work as anywhere.
    tokio::time::sleep(Duration::from_millis(args.milliseconds)).await;
    tracing::debug!(user = %cx.identity()?.user, "measured");
    Ok(Length { value: 1.0 })
}
