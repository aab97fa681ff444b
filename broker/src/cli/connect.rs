//! What `call`, `listen` and `bench` have in common: options that say where the broker is and who to be there.

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use jackfield_client::{ConnectOptions, Login, Secret, Timeouts, Tls};
use serde_json::{Map, Value};

use crate::config::{self, DurationError};

/// Who logs in when the command line does not say.
const DEFAULT_USER: &str = "cli";

/// Where the broker is when the command line does not say.
const DEFAULT_URL: &str = "ws://127.0.0.1:9010";

/// Where the broker is, and who to log in as.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The broker: ws://HOST:PORT, or wss://, tcp:// or tls:// [default: ws://127.0.0.1:9010]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Who to log in as [default: cli, unless --login or --cert says more]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// The user's password; other users of this machine may see it, so better use --password-file
    #[arg(long, value_name = "PASSWORD", conflicts_with = "password_file")]
    password: Option<Secret>,
    /// A file with the user's password; one newline at its end does not count
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Further fields of the login, a JSON object: {"token": "…"}
    #[arg(long, value_name = "JSON")]
    login: Option<LoginFields>,
    /// The authorities to trust with wss:// and tls:// in place of the system's, PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate to show to a broker that asks for one, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// How long to wait for an answer: 5s, 2m, 300ms
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    timeout: Duration,
}

impl ConnectArgs {
    /// Options with a login.
    pub(crate) fn options(&self) -> Result<ConnectOptions, Failure> {
        Ok(self.anonymous_options()?.login(self.login()?))
    }

    /// Who to log in as: [`DEFAULT_USER`] where nothing says who.
    pub(crate) fn login(&self) -> Result<Login, Failure> {
        let mut login = match (&self.user, &self.login) {
            (Some(user), _) => Login::user(user),
            // A token or a certificate may be all that an authenticator wants.
            (None, Some(_)) => Login::anonymous(),
            (None, None) if self.cert.is_some() => Login::anonymous(),
            (None, None) => Login::user(DEFAULT_USER),
        };
        if let Some(password) = self.password()? {
            login = login.password(password);
        }
        if let Some(LoginFields(text)) = &self.login {
            for (name, value) in parse_fields(text)? {
                login = login.field(name, value);
            }
        }
        Ok(login)
    }

    /// Options without a login.
    pub(crate) fn anonymous_options(&self) -> Result<ConnectOptions, Failure> {
        let options =
            ConnectOptions::new(self.url()).map_err(|error| Failure::usage(format!("--url: {error}")))?;
        let options = options.tls(self.tls()?);
        Ok(options.timeouts(Timeouts { answer: self.timeout, ..Timeouts::default() }))
    }

    /// Where the broker is.
    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or(DEFAULT_URL)
    }

    /// How long an answer is waited for.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    fn tls(&self) -> Result<Tls, Failure> {
        let url = self.url().to_ascii_lowercase();
        let is_encrypted = ["wss:", "tls:"].iter().any(|scheme| url.starts_with(scheme));
        if !is_encrypted && (self.ca.is_some() || self.cert.is_some()) {
            return Err(Failure::usage("--ca and --cert need a --url with wss:// or tls://"));
        }
        let mut tls = Tls::new();
        if let Some(ca) = &self.ca {
            tls = tls.ca_file(ca).map_err(|error| Failure::usage(format!("--ca {error}")))?;
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            let shown = tls.client_certificate(cert, key);
            tls = shown.map_err(|error| Failure::usage(format!("--cert, --key: {error}")))?;
        }
        Ok(tls)
    }

    /// Whether any option is about a broker.
    pub(crate) fn asks_for_broker(&self) -> bool {
        self.url.is_some() || self.asks_for_login()
    }

    /// Whether any option is about the login.
    pub(crate) fn asks_for_login(&self) -> bool {
        self.user.is_some()
            || self.password.is_some()
            || self.password_file.is_some()
            || self.login.is_some()
            || self.cert.is_some()
    }

    fn password(&self) -> Result<Option<Secret>, Failure> {
        let Some(file) = &self.password_file else { return Ok(self.password.clone()) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("--password-file {}: {error}", file.display())))?;
        let password =
            text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        Ok(Some(password.into()))
    }
}

/// `--login` as it was typed. It may hold secrets, so it is neither printed nor quoted.
#[derive(Clone)]
struct LoginFields(String);

impl From<String> for LoginFields {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for LoginFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

fn parse_fields(text: &str) -> Result<Map<String, Value>, Failure> {
    // Only the place of the mistake: serde_json's text may quote a value.
    serde_json::from_str(text).map_err(|error| {
        Failure::usage(format!("--login: expected a JSON object (mistake in column {})", error.column()))
    })
}

/// A duration as the configuration has it, or none at all: `0s`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    match config::parse_duration(text) {
        Err(DurationError::Zero) => Ok(Duration::ZERO),
        read => read,
    }
}

/// Why a command ends otherwise than well.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: FailureKind,
    message: String,
}

#[derive(Debug)]
enum FailureKind {
    Usage,
    RunTime,
    /// Told as it is: it says of itself that it is an error.
    Answer,
}

impl Failure {
    /// Wrong usage: exit status 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Usage, message: message.into() }
    }

    /// An error answer: exit status 1.
    pub(crate) fn answer(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Answer, message: message.into() }
    }

    /// Failed at run time: exit status 1.
    pub(crate) fn run_time(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::RunTime, message: message.into() }
    }
}

impl From<jackfield_client::Error> for Failure {
    fn from(error: jackfield_client::Error) -> Self {
        Self::run_time(error.to_string())
    }
}

/// The exit status, a failure having been told on stderr.
pub(crate) fn exit_code(outcome: Result<(), Failure>) -> ExitCode {
    let Err(Failure { kind, message }) = outcome else { return ExitCode::SUCCESS };
    match kind {
        FailureKind::Answer => tell(&message),
        FailureKind::Usage | FailureKind::RunTime => tell(&format!("error: {message}")),
    }
    match kind {
        FailureKind::Usage => ExitCode::from(2),
        FailureKind::RunTime | FailureKind::Answer => ExitCode::FAILURE,
    }
}

/// Writes a line to stderr.
pub(crate) fn tell(line: &str) {
    // Where stderr is gone, nobody is left to be told of that.
    writeln!(io::stderr().lock(), "{line}").ok();
}

/// Turns the failure of writing to stdout into a command's: that the reader has gone is none.
pub(crate) fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::run_time(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Splits a path of at most `limit` levels, none of them empty. The error says what is wrong.
pub(crate) fn levels(path: &str, limit: usize) -> Result<Vec<&str>, String> {
    let levels = path.splitn(limit, '/').collect::<Vec<_>>();
    if levels.iter().any(|level| level.is_empty()) { Err("a level is empty".into()) } else { Ok(levels) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        connect: ConnectArgs,
    }

    fn parse(args: &[&str]) -> ConnectArgs {
        Cli::try_parse_from([&["test"], args].concat()).unwrap().connect
    }

    #[test]
    fn secrets_are_not_printed() {
        let args = parse(&["--password", "hunter2", "--login", r#"{"token":"t0k3n"}"#]);
        let printed = format!("{args:?} {:?}", args.options().unwrap());
        assert!(!printed.contains("hunter2") && !printed.contains("t0k3n"), "{printed}");
        let failure = parse(&["--login", "\"t0k3n\""]).options().unwrap_err();
        assert!(!failure.message.contains("t0k3n"), "{}", failure.message);
    }

    #[test]
    fn who_logs_in() {
        let user = |args: &[&str]| format!("{:?}", parse(args).options().unwrap());
        assert!(user(&[]).contains("user: Some(\"cli\")"));
        assert!(user(&["--user", "ann"]).contains("user: Some(\"ann\")"));
        assert!(user(&["--login", "{\"token\":1}"]).contains("user: None"));
        assert!(!parse(&[]).asks_for_login());
    }

    #[test]
    fn durations() {
        for (text, expected) in [("5s", 5_000), ("2m", 120_000), ("300ms", 300)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(expected)));
        }
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        for text in ["", "5", "s", "-5s", "5d", "1.5s", "5 s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wrong_usage_is_told_from_failure() {
        assert_eq!(exit_code(Ok(())), ExitCode::SUCCESS);
        let failure = parse(&["--url", "http://localhost"]).options().unwrap_err();
        assert!(matches!(failure.kind, FailureKind::Usage));
        let failure = parse(&["--password-file", "/does/not/exist"]).options().unwrap_err();
        assert!(failure.message.contains("/does/not/exist"));
        assert_eq!(exit_code(Err(failure)), ExitCode::from(2));
    }
}
