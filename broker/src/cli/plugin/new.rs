//! `jackfield plugin new`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use super::super::output::{answer, fail, usage_error};
use crate::broker;

/// The longest name.
const LONGEST: usize = 64;

/// Names that no Rust crate can have, or that would stand in the way of others.
const RESERVED: [&str; 40] = [
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "fn", "for", "if", "impl", "in", "let", "loop", "match",
    "mod", "move", "mut", "pub", "ref", "return", "self", "static", "std", "struct", "test", "true", "type",
    "use", "where",
];

/// Writes the skeleton of a plugin.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The plugin's name: lower case letters, digits and -
    name: PluginName,
    /// What it starts with
    #[arg(long, value_enum, default_value_t = Kind::Command)]
    kind: Kind,
    /// The directory to write; it must not be there yet [default: NAME]
    #[arg(long, value_name = "DIRECTORY")]
    path: Option<PathBuf>,
}

/// What a skeleton shows.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A command
    Command,
    /// An authenticator
    Auth,
}

/// A name that is good for a plugin, a crate and a class.
#[derive(Clone, Debug)]
struct PluginName(String);

impl std::str::FromStr for PluginName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let starts = text.starts_with(|first: char| first.is_ascii_lowercase());
        if !starts || text.ends_with('-') || text.contains("--") || !text.bytes().all(fits) {
            return Err("expected lower case letters, digits and -, a letter first".to_owned());
        }
        if text.len() > LONGEST {
            return Err(format!("expected at most {LONGEST} characters"));
        }
        if RESERVED.contains(&text) {
            return Err("no Rust crate can have this name".to_owned());
        }
        if broker::builtin_plugins().iter().any(|plugin| plugin.name == text) {
            return Err("a plugin of this name is built in".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

pub(super) fn run(args: &NewArgs) -> ExitCode {
    let directory = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name.0));
    if directory.exists() {
        return usage_error(format_args!("{} is there already", directory.display()));
    }
    match write(&directory, &args.name, args.kind) {
        Ok(()) => answer(format_args!("{} is written; its README.md says how to go on", directory.display())),
        Err(error) => fail(format_args!("cannot write {}: {error}", directory.display())),
    }
}

fn write(directory: &Path, name: &PluginName, kind: Kind) -> io::Result<()> {
    fs::create_dir_all(directory.join("src"))?;
    for (file, text) in files(name, kind) {
        fs::write(directory.join(file), text)?;
    }
    Ok(())
}

/// The files of a skeleton.
fn files(PluginName(name): &PluginName, kind: Kind) -> [(&'static str, String); 4] {
    let source = match kind {
        Kind::Command => include_str!("../../../templates/plugin/command.rs.in"),
        Kind::Auth => include_str!("../../../templates/plugin/auth.rs.in"),
    };
    let fields = [
        ("{{try}}", attempt(kind).trim_end().to_owned()),
        ("{{name}}", name.clone()),
        ("{{crate}}", name.replace('-', "_")),
        ("{{type}}", type_name(name)),
        ("{{dependency}}", dependency("")),
        ("{{test_dependency}}", dependency(", features = [\"testing\"]")),
        ("{{async_trait}}", async_trait(kind).to_owned()),
    ];
    let filled = |template: &str| {
        fields.iter().fold(template.to_owned(), |text, (field, value)| text.replace(field, value))
    };
    [
        ("Cargo.toml", filled(include_str!("../../../templates/plugin/Cargo.toml.in"))),
        ("src/lib.rs", filled(source)),
        ("README.md", filled(include_str!("../../../templates/plugin/README.md.in"))),
        (".gitignore", "/target\n".to_owned()),
    ]
}

const fn async_trait(kind: Kind) -> &'static str {
    match kind {
        Kind::Command => "",
        Kind::Auth => "async-trait = \"0.1\"\n",
    }
}

/// What to try first.
const fn attempt(kind: Kind) -> &'static str {
    match kind {
        Kind::Command => include_str!("../../../templates/plugin/command.try.in"),
        Kind::Auth => include_str!("../../../templates/plugin/auth.try.in"),
    }
}

/// The plugin API as this binary was built with it: from its sources where they are still there, else by version.
fn dependency(more: &str) -> String {
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugin-api"));
    match sources.canonicalize().ok().filter(|sources| sources.join("Cargo.toml").is_file()) {
        // TOML's strings and Rust's escape the same characters.
        Some(sources) => format!("{{ path = {:?}{more} }}", sources.display().to_string()),
        None => format!("{{ version = {:?}{more} }}", env!("CARGO_PKG_VERSION")),
    }
}

/// `rate-limit` gives `RateLimit`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["weather", "rate-limit", "a2"] {
            assert!(good.parse::<PluginName>().is_ok(), "{good}");
        }
        for bad in ["", "Weather", "2a", "-a", "a-", "a--b", "a_b", "../a", "a b", "core", "fn", "auth-open"]
        {
            assert!(bad.parse::<PluginName>().is_err(), "{bad}");
        }
        assert!("a".repeat(65).parse::<PluginName>().is_err());
        assert_eq!(type_name("rate-limit2"), "RateLimit2");
    }

    #[test]
    fn no_field_is_left_in_a_skeleton() {
        for kind in [Kind::Command, Kind::Auth] {
            for (file, text) in files(&PluginName("rate-limit".into()), kind) {
                assert!(!text.contains("{{"), "{file}: {text}");
            }
        }
    }
}
