//! A broker process of a test's own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::client::Client;
use super::transport::Transport;
use super::{cli, eventually, pause, tls, within};

/// The administrator's password in the default configuration; the user is `admin`.
pub const ADMIN_PASSWORD: &str = "secret-admin";

/// How the broker is started. The default listens on ws and tcp, lets everyone in, and has an administrator.
pub struct Options {
    example: Option<&'static str>,
    whole_config: Option<String>,
    config: String,
    listen: Vec<String>,
    plugins: Vec<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    files: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            example: None,
            whole_config: None,
            config: String::new(),
            listen: ["ws://127.0.0.1:0", "tcp://127.0.0.1:0"].map(String::from).into(),
            plugins: vec!["auth-open".into()],
            args: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl Options {
    /// The fixture broker, with its plugin `fixture` before `auth-open`.
    pub fn fixture() -> Self {
        Self::example("fixture").plugins(&["fixture", "auth-open"])
    }

    /// The broker that one of the examples is.
    pub fn example(name: &'static str) -> Self {
        Self { example: Some(name), ..Self::default() }
    }

    /// Adds `--set KEY=VALUE`.
    pub fn set(self, setting: &str) -> Self {
        self.args(&["--set", setting])
    }

    /// Adds arguments after `run`.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Puts a file into the broker's directory before it starts.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// Listens on wss and tls too, with the certificate that the tests' clients expect. Its tables follow what was
    /// configured so far.
    pub fn with_tls(self) -> Self {
        self.with_tls_of(&tls::SERVER).config(&tls::table(""))
    }

    /// The same with a certificate of the test's own, and without the table.
    pub fn with_tls_of(mut self, server: &tls::Pair) -> Self {
        self.listen.extend(["wss://127.0.0.1:0", "tls://127.0.0.1:0"].map(String::from));
        self.file("server.pem", &server.certificate).file("server.key", &server.key)
    }

    /// Replaces the `--listen` flags; empty: none is given.
    pub fn listen(mut self, urls: &[&str]) -> Self {
        self.listen = urls.iter().map(ToString::to_string).collect();
        self
    }

    /// Replaces the `--plugin` flags; empty: none is given, so the configuration's list holds.
    pub fn plugins(mut self, names: &[&str]) -> Self {
        self.plugins = names.iter().map(ToString::to_string).collect();
        self
    }

    /// Appends to the configuration file, which starts as [`with_admin`] writes it: keys of `[service.main]` first.
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// The configuration file, all of it.
    pub fn whole_config(mut self, toml: &str) -> Self {
        self.whole_config = Some(toml.into());
        self
    }

    fn config_text(&self) -> String {
        self.whole_config.clone().unwrap_or_else(|| with_admin(&self.config))
    }
}

/// A configuration with the tests' administrator, followed by `rest` (still within `[service.main]`).
pub fn with_admin(rest: &str) -> String {
    format!("[service.main]\nadmin_user = \"admin\"\nadmin_password = \"{ADMIN_PASSWORD}\"\n{rest}\n")
}

/// A running broker; killed when dropped.
pub struct Broker {
    child: Child,
    directory: TempDir,
    ready: Value,
}

impl Broker {
    /// Starts a broker and waits until it says that every listener accepts.
    pub async fn start(options: Options) -> Self {
        let mut broker = Self::spawn(&options);
        broker.wait_until_ready().await;
        broker
    }

    /// Starts a broker without waiting for it.
    pub fn spawn(options: &Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("jackfield.toml"), options.config_text()).unwrap();
        for (name, text) in &options.files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let child = command(options, directory.path()).spawn().unwrap();
        Self { child, directory, ready: Value::Null }
    }

    async fn wait_until_ready(&mut self) {
        let file = self.file("ready.json");
        within("the ready file", async {
            loop {
                if let Some(ready) = read_json(&file) {
                    self.ready = ready;
                    return;
                }
                if let Some(status) = self.child.try_wait().unwrap() {
                    panic!("the broker ended with {status} before it was ready");
                }
                pause(5).await;
            }
        })
        .await;
    }

    /// What the ready file says.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the broker has ended")
    }

    /// Service `main`.
    pub fn main(&self) -> Service {
        self.service("main")
    }

    /// A service by its name.
    pub fn service(&self, name: &str) -> Service {
        let urls = self.ready["services"][name].as_array();
        let urls = urls.unwrap_or_else(|| panic!("no service {name} in {}", self.ready));
        Service { urls: urls.iter().map(|url| url.as_str().unwrap().into()).collect() }
    }

    /// Where service `main` listens for this transport.
    pub fn url(&self, transport: Transport) -> String {
        self.main().url(transport)
    }

    /// Where the metrics and health pages are.
    pub fn admin_url(&self) -> String {
        self.ready["admin"].as_str().expect("an admin listener").into()
    }

    /// A new connection to service `main`.
    pub async fn connect(&self, transport: Transport) -> Client {
        self.main().connect(transport).await
    }

    /// A new session of `user` at service `main`.
    pub async fn login(&self, transport: Transport, user: &str) -> Client {
        self.main().login(transport, user).await
    }

    /// A new session of the administrator at service `main`.
    pub async fn admin(&self, transport: Transport) -> Client {
        self.main().admin(transport).await
    }

    /// A path in the broker's own directory, which is its working directory too.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces the configuration file, without telling the broker.
    pub fn rewrite_config(&self, toml: &str) {
        fs::write(self.file("jackfield.toml"), toml).unwrap();
    }

    /// Replaces a file in the broker's directory, in one step.
    pub fn replace_file(&self, name: &str, text: &str) {
        let new = self.file(&format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.file(name)).unwrap();
    }

    /// Everything on stderr so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("stderr")).unwrap()).into_owned()
    }

    /// Everything on stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("stdout")).unwrap()).into_owned()
    }

    /// Waits until the log has `text`.
    pub async fn logged(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || self.log().contains(text)).await;
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGINT.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGHUP.
    pub fn hangup(&self) {
        self.signal(Signal::HUP);
    }

    /// Waits for the process to end; its exit code, `None` when a signal ended it.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let status: ExitStatus = within("the broker's end", self.child.wait()).await.unwrap();
        status.code()
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Broker {
    #[allow(clippy::print_stderr, reason = "the log of a failed test's broker")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the broker's log ---\n{}--- end of the log ---", self.log());
        }
    }
}

fn command(options: &Options, directory: &Path) -> Command {
    let mut command = cli::command(options.example, directory);
    command.arg("run").args(["--config", "jackfield.toml", "--ready-file", "ready.json"]);
    for url in &options.listen {
        command.args(["--listen", url]);
    }
    for plugin in &options.plugins {
        command.args(["--plugin", plugin]);
    }
    command.args(&options.args);
    command.envs(options.env.iter().cloned().collect::<BTreeMap<_, _>>());
    command.stdin(Stdio::null());
    command.stdout(File::create(directory.join("stdout")).unwrap());
    command.stderr(File::create(directory.join("stderr")).unwrap());
    command
}

fn read_json(file: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

/// Where one service of a broker listens.
pub struct Service {
    urls: Vec<String>,
}

impl Service {
    /// The first listener of this transport.
    pub fn url(&self, transport: Transport) -> String {
        let prefix = format!("{transport}://");
        let url = self.urls.iter().find(|url| url.starts_with(&prefix));
        url.unwrap_or_else(|| panic!("no {transport} listener in {:?}", self.urls)).clone()
    }

    /// All listeners.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// A new connection.
    pub async fn connect(&self, transport: Transport) -> Client {
        Client::connect(&self.url(transport)).await
    }

    /// A new session of `user`.
    pub async fn login(&self, transport: Transport, user: &str) -> Client {
        let mut client = self.connect(transport).await;
        client.login(user).await;
        client
    }

    /// A new session of the administrator.
    pub async fn admin(&self, transport: Transport) -> Client {
        let mut client = self.connect(transport).await;
        client.login_with(json!({"user": "admin", "password": ADMIN_PASSWORD})).await;
        client
    }
}

/// A line of `/proc/PID/status`, in KiB.
pub fn kilobytes(broker: &Broker, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
