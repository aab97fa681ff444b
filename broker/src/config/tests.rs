use std::fs;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A directory with a `j.toml`; messages show the directory as `DIR`.
struct Fixture(TempDir);

impl Fixture {
    fn new(text: &str) -> Self {
        let fixture = Self(TempDir::new().unwrap());
        fixture.write("j.toml", text);
        fixture
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn sources(&self) -> Sources {
        Sources { file: Some(self.0.path().join("j.toml")), ..Sources::default() }
    }

    fn load(&self) -> Config {
        Config::load(&self.sources()).unwrap()
    }

    fn errors(&self) -> String {
        self.errors_of(&self.sources())
    }

    fn errors_of(&self, sources: &Sources) -> String {
        let errors = Config::load(sources).unwrap_err();
        errors.to_string().replace(&format!("{}/", self.0.path().display()), "DIR/")
    }
}

fn load(text: &str) -> Config {
    Fixture::new(text).load()
}

fn errors(text: &str) -> String {
    Fixture::new(text).errors()
}

fn set(assignments: &[&str]) -> Sources {
    Sources { set: assignments.iter().map(|text| (*text).to_owned()).collect(), ..Sources::default() }
}

fn environment(variables: &[(&str, &str)]) -> Sources {
    let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Sources { environment, ..Sources::default() }
}

fn shown(urls: &[ListenUrl]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_are_what_the_interface_says() {
    let config = Config::load(&Sources::default()).unwrap();
    let main = &config.services["main"];
    assert_eq!(config.services.len(), 1);
    assert_eq!(shown(&main.listen), ["ws://127.0.0.1:9010", "tcp://127.0.0.1:9012"]);
    assert_eq!((main.admin_user.as_str(), main.default_policy), ("admin", DefaultPolicy::Allow));
    assert!(main.plugins.is_empty() && main.admin_password.is_none() && main.tls.is_none());
    assert!(config.admin.listen.is_none() && config.data_dir.is_none());
    let limits = &config.limits;
    assert_eq!((limits.message_bytes, limits.outbound_bytes), (1_048_576, 4_194_304));
    assert_eq!((limits.inflight, limits.connections, limits.connections_per_user), (1024, 1_000_000, 0));
    assert_eq!((limits.requests_per_second, limits.subscriptions_per_session), (0, 10_000));
    let t = &config.timeouts;
    let seconds = [t.answer, t.acked, t.login, t.ping, t.handler, t.write, t.drain].map(|d| d.as_secs());
    assert_eq!(seconds, [5, 180, 30, 60, 180, 10, 10]);
}

const FULL: &str = r#"
data_dir = "state"

[service.main]
listen = ["wss://127.0.0.1", "tcp://[::1]:0"]
plugins = ["gelf", "./libweather.so"]
admin_user = "root"
admin_password_file = "password"
default_policy = "deny"
library_sha256 = ["ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789"]

[[service.main.rule]]
user = "*@example.com"
allow = ["command:core/event/*", "subscribe:media/**"]
deny = ["command:core/session/stop"]

[[service.main.rule]]

[service.main.tls]
certificate = "server.pem"
key = "server.key"
client_ca = "clients.pem"
require_client_certificate = true

[service.main.plugin.gelf]
server = "udp://127.0.0.1:12201"
nested = { on = true, numbers = [1, 2.5, -3] }

[service.other]
listen = ["ws://127.0.0.1:9110/chat"]

[admin]
listen = "http://127.0.0.1:9015"

[limits]
message_bytes = 2_048

[timeouts]
ping = "100ms"
"#;

#[test]
fn every_key_is_read() {
    let fixture = Fixture::new(FULL);
    for name in ["server.pem", "server.key", "clients.pem"] {
        fixture.write(name, "");
    }
    fixture.write("password", "hunter2\n\n");
    let config = fixture.load();
    let directory = fixture.0.path();
    let main = &config.services["main"];
    assert_eq!(shown(&main.listen), ["wss://127.0.0.1:9011", "tcp://[::1]:0"]);
    let library = PluginRef::Library(directory.join("./libweather.so"));
    assert_eq!(main.plugins, [PluginRef::Builtin("gelf".to_owned()), library]);
    assert_eq!(main.admin_user, "root");
    assert_eq!(main.admin_password.as_ref().unwrap().expose_secret(), "hunter2\n");
    assert_eq!(main.default_policy, DefaultPolicy::Deny);
    assert_eq!(main.library_sha256[0], "abcdef0123456789".repeat(4));
    assert_eq!((main.rules[0].user.as_str(), main.rules[1].user.as_str()), ("*@example.com", "*"));
    assert_eq!(main.rules[0].allow, ["command:core/event/*", "subscribe:media/**"]);
    assert_eq!(main.rules[0].deny, ["command:core/session/stop"]);
    let tls = main.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, directory.join("server.pem"));
    assert_eq!(tls.client_ca.as_deref(), Some(directory.join("clients.pem").as_path()));
    assert!(tls.require_client_certificate);
    let gelf = json!({"server": "udp://127.0.0.1:12201", "nested": {"on": true, "numbers": [1, 2.5, -3]}});
    assert_eq!(main.plugin_tables["gelf"], gelf);
    assert_eq!(shown(&config.services["other"].listen), ["ws://127.0.0.1:9110/chat"]);
    assert_eq!(config.admin.listen.as_ref().unwrap().to_string(), "http://127.0.0.1:9015");
    assert_eq!(config.limits.message_bytes, 2048);
    assert_eq!(config.timeouts.ping, Duration::from_millis(100));
    assert_eq!(config.data_dir.as_deref(), Some(directory.join("state").as_path()));
}

#[test]
fn a_misspelt_key_names_file_line_key_and_the_nearest() {
    let expected = "\
DIR/j.toml:2:1: limits.mesage_bytes: unknown key, expected one of message_bytes, outbound_bytes, inflight, \
connections, connections_per_user, requests_per_second, subscriptions_per_session, registrations_per_session; did you mean `message_bytes`?
   2 | mesage_bytes = 1048576
     | ^^^^^^^^^^^^";
    assert_eq!(errors("[limits]\nmesage_bytes = 1048576\n"), expected);
    let top = errors("[servce.main]\nlisten = []\n");
    assert!(top.starts_with("DIR/j.toml:1:2: servce: unknown key"), "{top}");
    assert!(top.contains("did you mean `service`?"), "{top}");
}

#[test]
fn all_problems_are_reported_in_order() {
    let text = r#"
[service.main]
listen = ["udp://a", "ws://127.0.0.1:99999"]
plugins = "gelf"
admin_user = 5
default_policy = "alow"
[[service.main.rule]]
allow = ["comand:core/**", "subscribe"]
[limits]
inflight = 0
message_bytes = "big"
[timeouts]
answer = "5 s"
ping = 60
"#;
    let first_lines: Vec<String> =
        errors(text).lines().filter(|line| line.contains("DIR")).map(str::to_owned).collect();
    assert_eq!(
        first_lines,
        [
            "DIR/j.toml:3:11: service.main.listen[0]: expected a URL that starts with ws://, wss://, tcp:// or tls://, found `udp://a`",
            "DIR/j.toml:3:22: service.main.listen[1]: expected a port from 0 to 65535, found `ws://127.0.0.1:99999`",
            "DIR/j.toml:4:11: service.main.plugins: expected a list, found a string",
            "DIR/j.toml:5:14: service.main.admin_user: expected a string, found an integer",
            "DIR/j.toml:6:18: service.main.default_policy: expected \"allow\" or \"deny\", found `alow`",
            "DIR/j.toml:8:10: service.main.rule[0].allow[0]: expected ACTION:PATH where ACTION is one of command, subscribe, publish, register, service, found `comand:core/**`; did you mean `command`?",
            "DIR/j.toml:8:28: service.main.rule[0].allow[1]: expected ACTION:PATH where ACTION is one of command, subscribe, publish, register, service, found `subscribe`",
            "DIR/j.toml:10:12: limits.inflight: expected an integer from 1 to 1000000000, found 0",
            "DIR/j.toml:11:17: limits.message_bytes: expected an integer, found a string",
            "DIR/j.toml:13:10: timeouts.answer: expected a number with a unit, such as \"5s\", \"3m\", \"100ms\" or \"1h\", found `5 s`",
            "DIR/j.toml:14:8: timeouts.ping: expected a number with a unit in quotes, such as \"5s\", found an integer",
        ]
    );
}

#[test]
fn syntax_errors_have_a_place() {
    let text = errors("[limits]\ninflight = \nx = 1\n[timeouts\n");
    assert!(text.contains("DIR/j.toml:2:"), "{text}");
    assert!(text.contains("DIR/j.toml:4:"), "{text}");
    assert!(text.contains("not TOML"), "{text}");
    let huge = errors("[limits]\ninflight = 99999999999999999999\n");
    assert!(huge.starts_with("DIR/j.toml:2:12: expected an integer that fits 64 bits"), "{huge}");
    let twice = errors("[limits]\ninflight = 1\ninflight = 2\n");
    assert!(twice.starts_with("DIR/j.toml:3:1: not TOML: duplicate key"), "{twice}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let sources = Sources { file: Some(PathBuf::from("/no/such.toml")), ..Sources::default() };
    let error = Config::load(&sources).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the configuration file /no/such.toml: No such file"), "{error}");
}

#[test]
fn later_layers_win() {
    let fixture = Fixture::new("[limits]\ninflight = 1\nconnections = 1\n[timeouts]\nping = \"1s\"\n");
    let mut sources = fixture.sources();
    sources.environment = vec![
        ("JACKFIELD_LIMITS__INFLIGHT".into(), "2".into()),
        ("jackfield_limits__inflight".into(), "ignored".into()),
        ("JACKFIELD_LIMITS__Connections".into(), "2".into()),
    ];
    sources.set = vec!["limits.inflight=3".to_owned(), "limits.inflight = 4".to_owned()];
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.limits.inflight, config.limits.connections), (4, 2));
    assert_eq!(config.timeouts.ping, Duration::from_secs(1));
}

#[test]
fn listen_and_plugin_replace_the_lists_of_main() {
    let fixture = Fixture::new("[service.main]\nlisten = ['ws://a']\nplugins = ['gelf']\n");
    let mut sources = fixture.sources();
    sources.set = vec!["service.main.listen=['ws://b']".to_owned()];
    sources.listen = vec!["tcp://127.0.0.1:0".to_owned(), "ws://127.0.0.1:0".to_owned()];
    sources.plugins = vec!["auth-open".to_owned(), "./x.so".to_owned()];
    let config = Config::load(&sources).unwrap();
    let main = &config.services["main"];
    assert_eq!(shown(&main.listen), ["tcp://127.0.0.1:0", "ws://127.0.0.1:0"]);
    let library = PluginRef::Library(PathBuf::from("./x.so"));
    assert_eq!(main.plugins, [PluginRef::Builtin("auth-open".to_owned()), library]);

    sources.listen = vec!["nonsense".to_owned()];
    let error = fixture.errors_of(&sources);
    assert!(error.starts_with("--listen: service.main.listen[0]: expected a URL"), "{error}");
}

#[test]
fn values_are_taken_as_written_where_the_key_is_a_string() {
    let sources = set(&[
        "service.main.admin_password=12345",
        "service.main.admin_user=true",
        "timeouts.ping=7s",
        "service.main.default_policy=deny",
        r#"service.main.listen=["ws://127.0.0.1:0"]"#,
        r#"service.main.rule=[{ user = "ann", deny = ["service:x"] }]"#,
        r#"service.main.plugin.auth-static.users."ann@example.com"=$argon2id$x"#,
        "service.main.plugin.gelf={ on = true }",
        "service.main.plugin.gelf.level=3",
    ]);
    let config = Config::load(&sources).unwrap();
    let main = &config.services["main"];
    assert_eq!(main.admin_password.as_ref().unwrap().expose_secret(), "12345");
    assert_eq!((main.admin_user.as_str(), main.default_policy), ("true", DefaultPolicy::Deny));
    assert_eq!(config.timeouts.ping, Duration::from_secs(7));
    assert_eq!((main.rules[0].user.as_str(), main.rules[0].deny[0].as_str()), ("ann", "service:x"));
    assert_eq!(main.plugin_tables["auth-static"], json!({"users": {"ann@example.com": "$argon2id$x"}}));
    assert_eq!(main.plugin_tables["gelf"], json!({"on": true, "level": 3}));
}

#[test]
fn environment_reaches_every_level() {
    let mut sources = environment(&[
        ("JACKFIELD_SERVICE__MAIN__ADMIN_PASSWORD", "12345"),
        ("JACKFIELD_SERVICE__MAIN__PLUGIN__GELF__SERVER", "udp://127.0.0.1:1"),
        ("JACKFIELD_SERVICE__MAIN__PLUGIN__AUTH_STATIC__X", "1"),
        ("JACKFIELD_SERVICE__CHAT__LISTEN", "['ws://127.0.0.1:0']"),
        ("JACKFIELD_DATA_DIR", "state"),
        ("PATH", "/bin"),
    ]);
    sources.plugins = vec!["auth-static".to_owned()];
    let config = Config::load(&sources).unwrap();
    let main = &config.services["main"];
    assert_eq!(main.admin_password.as_ref().unwrap().expose_secret(), "12345");
    assert_eq!(main.plugin_tables["gelf"], json!({"server": "udp://127.0.0.1:1"}));
    assert_eq!(main.plugin_tables["auth-static"], json!({"x": 1}));
    assert_eq!(shown(&config.services["chat"].listen), ["ws://127.0.0.1:0"]);
    assert_eq!(config.data_dir.as_deref(), Some(Path::new("state")));
}

#[test]
fn environment_finds_the_files_spelling() {
    let fixture =
        Fixture::new("[service.Main-2]\nlisten = ['ws://a']\n[service.Main-2.plugin.x.User-Map]\na = 1\n");
    let mut sources = fixture.sources();
    sources.environment = vec![
        ("JACKFIELD_SERVICE__MAIN_2__ADMIN_USER".into(), "root".into()),
        ("JACKFIELD_SERVICE__MAIN_2__PLUGIN__X__USER_MAP__A".into(), "2".into()),
    ];
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.services.keys().collect::<Vec<_>>(), ["Main-2"]);
    assert_eq!(config.services["Main-2"].admin_user, "root");
    assert_eq!(config.services["Main-2"].plugin_tables["x"], json!({"User-Map": {"a": 2}}));
}

#[test]
fn bad_variables_and_options_are_named() {
    let error = |sources: &Sources| Config::load(sources).unwrap_err().to_string();
    let text = error(&environment(&[("JACKFIELD_LIMIT__INFLIGHT", "2")]));
    assert!(text.starts_with("environment variable JACKFIELD_LIMIT__INFLIGHT: limit: unknown key"), "{text}");
    assert!(text.ends_with("did you mean `limits`?"), "{text}");
    let text = error(&environment(&[("JACKFIELD_LIMITS__INFLIGHT", "many")]));
    let expected = "environment variable JACKFIELD_LIMITS__INFLIGHT: limits.inflight: expected an integer, found a text that is no TOML value";
    assert_eq!(text, expected);
    let text = error(&set(&["timeouts.pin=5s"]));
    assert!(text.starts_with("--set timeouts.pin: timeouts.pin: unknown key"), "{text}");
    assert_eq!(error(&set(&["timeouts"])), "--set: expected KEY=VALUE");
    assert!(error(&set(&["a b=1"])).starts_with("--set a b: expected a dotted key"));
    let text = error(&set(&["data_dir=x", "data_dir.y=1"]));
    assert_eq!(text, "--set data_dir.y: data_dir.y: `data_dir` is not a table");
    let text = error(&set(&["timeouts.ping='5s'"]));
    assert!(text.ends_with("(taken as written: leave the quotes out)"), "{text}");
}

#[test]
fn passwords_are_one_or_the_other() {
    let fixture = Fixture::new("[service.main]\nadmin_password = 'a'\nadmin_password_file = 'p'\n");
    fixture.write("p", "from file\r\n");
    assert!(fixture.errors().contains("DIR/j.toml:3:23: service.main.admin_password_file: expected either"));

    let fixture = Fixture::new("[service.main]\nadmin_password = 'a'\n");
    fixture.write("p", "from file\r\n");
    let password = |sources: &Sources| {
        let config = Config::load(sources).unwrap();
        config.services["main"].admin_password.as_ref().unwrap().expose_secret().to_owned()
    };
    let mut sources = fixture.sources();
    assert_eq!(password(&sources), "a");
    let file = fixture.0.path().join("p");
    sources.set = vec![format!("service.main.admin_password_file={}", file.display())];
    assert_eq!(password(&sources), "from file");

    let missing = errors("[service.main]\nadmin_password_file = 'none'\n");
    assert!(
        missing
            .contains("2:23: service.main.admin_password_file: expected a file to read, DIR/none: No such"),
        "{missing}"
    );
}

#[test]
fn tls_needs_its_files() {
    let text = "[service.main]\nlisten = ['wss://a']\n";
    assert!(errors(text).contains("service.main.listen: wss:// needs the service's tls table"));
    let text = errors("[service.main.tls]\ncertificate = 'c.pem'\nrequire_client_certificate = true\n");
    assert!(text.contains("1:1: service.main.tls: missing key `key`"), "{text}");
    assert!(
        text.contains("2:15: service.main.tls.certificate: expected a file to read, DIR/c.pem: No such"),
        "{text}"
    );
    assert!(text.contains("3:30: service.main.tls.require_client_certificate: expected client_ca"), "{text}");
}

#[test]
fn services_and_ports() {
    let text = errors("[service.chat]\nplugins = []\n");
    assert!(text.starts_with("DIR/j.toml:1:1: service.chat: missing key `listen`"), "{text}");
    let text = errors("[service.'a b']\nlisten = ['ws://a']\n");
    assert!(text.starts_with("DIR/j.toml:1:10: service.\"a b\": expected a name"), "{text}");
    assert!(errors("[service.main]\nlisten = []\n").contains("expected a list with at least one item"));
    assert_eq!(load("[service.chat]\nlisten = ['ws://a']\n").services.len(), 1);

    let text = errors(
        "[service.a]\nlisten = ['ws://h:1', 'tcp://h:0', 'tcp://h:0']\n[service.b]\nlisten = ['tcp://h:1']\n[service.main]\n[admin]\nlisten = 'http://127.0.0.1:9012'\n",
    );
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("DIR")).collect();
    assert_eq!(
        lines,
        [
            "DIR/j.toml:4:11: service.b.listen: port 1 is already taken by h in service.a.listen",
            "DIR/j.toml:7:10: admin.listen: port 9012 is already taken by 127.0.0.1 in service.main.listen",
        ]
    );
    assert!(errors("[service.main]\nplugins = ['a', 'a']\n").contains("found `a` again"));
}

#[test]
fn plugin_tables_can_be_located_and_checked() {
    let fixture = Fixture::new("[service.main.plugin.x]\nlist = [1,\n  2]\n");
    let mut sources = fixture.sources();
    sources.set = vec!["service.main.plugin.x.pin=12345".into(), "service.main.plugin.x.size=12345".into()];
    sources.set.push("service.main.plugin.x.users.ann=true".into());
    let config = Config::load(&sources).unwrap();
    let at = |path: &[&str]| {
        let location = config.locate(&[&["service", "main", "plugin", "x"], path].concat()).unwrap();
        (location.line(), location.column(), location.to_string())
    };
    assert_eq!(at(&["list", "1"]).0, Some(3));
    assert_eq!((at(&["list"]).0, at(&["list"]).1), (Some(2), Some(1)));
    assert_eq!(at(&["missing", "deep"]).0, Some(1));
    assert_eq!(at(&["pin"]).2, "--set service.main.plugin.x.pin");
    assert!(config.locate(&["limits"]).is_none());

    let schema = json!({
        "properties": {
            "pin": {"anyOf": [{"$ref": "#/$defs/Pin"}, {"type": "null"}]},
            "size": {"type": "integer"},
            "users": {"$ref": "#/$defs/Users"},
        },
        "$defs": {"Pin": {"type": "string"}, "Users": {"additionalProperties": {"type": "string"}}},
    });
    let table = config.plugin_table("main", "x", &schema);
    assert_eq!(table, json!({"list": [1, 2], "pin": "12345", "size": 12345, "users": {"ann": "true"}}));
    assert_eq!(config.plugin_table("main", "none", &schema), json!({}));
}

#[test]
fn secrets_are_not_printed() {
    let fixture = Fixture::new(
        "[service.main]\nadmin_password = 'hunter2' # hunter2\nadmin_user = 1\n[service.main.plugin.x]\ntoken = 'hunter2'\n",
    );
    let mut sources = fixture.sources();
    assert!(!fixture.errors().contains("hunter2"));
    sources.set = vec!["service.main.admin_user=a".into(), "service.main.plugin.y.pin=hunter2".into()];
    let config = Config::load(&sources).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!format!("{:?}", config.locate(&["service", "main", "admin_password"])).contains("hunter2"));

    for text in [
        "[service.main]\nadmin_password = hunter2\n",
        "[service.main]\nadmin_password = 'hunter2\n",
        "[service.main]\nadmin_passwrd = 'hunter2'\n",
        "[service.main]\nadmin_password = { x = 'hunter2' }\n",
        "[service.main]\nadmin_password = '''\nhunter2\n",
        "[service.main]\nadmin_password = ['hunter2',\n 'hunter2' 1]\n",
        "[service.main]\nlisten = ['ws://u:hunter2@h']\n",
        "[service.main.plugin.x]\ntoken = nan # hunter2\n",
        "[service.main]\nplugin = 'hunter2'\nadmin_password = 1\n",
    ] {
        let shown = errors(text);
        assert!(!shown.contains("hunter2") || text.contains("plugin ="), "{shown}");
    }
    for assignment in ["service.main.admin_password.x=hunter2", "hunter2", "service.main.tls=hunter2"] {
        let shown = Config::load(&set(&[assignment])).unwrap_err().to_string();
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

const WITH_SECRETS: &str = "\
[service.main]
listen = ['ws://127.0.0.1:0']
admin_password = 'hunter2'
admin_user = \"root\"
[service.main.plugin.x]
api_key = \"\"\"
hunter2\"\"\"
size = 1
list = { token = 'hunter2', more = 2 }
[service.main.plugin.auth-static.tokens]
ann = 'hunter2'
bob = ['hunter2',
  'hunter2']
[limits]
inflight = 'x'
";

proptest::proptest! {
    #[test]
    fn no_slip_of_the_pen_shows_a_secret(at in 0..WITH_SECRETS.len(), delete in 0..2usize, insert in "[='\"\\[\\]{}\n,.#x ]{0,1}") {
        let end = (at + delete).min(WITH_SECRETS.len());
        let mut text = WITH_SECRETS.to_owned();
        text.replace_range(at..end, &insert);
        let fixture = Fixture::new(&text);
        if let Err(errors) = Config::load(&fixture.sources()) {
            let shown = format!("{errors}\n{errors:?}");
            proptest::prop_assert!(!shown.contains("hunter2"), "{text}\n{shown}");
        }
    }

    #[test]
    fn no_text_panics(text in r#"(?s)([a-z.=\[\]{}"',#\n é]|service|main|limits|plugin){0,60}"#) {
        drop(Config::load(&Fixture::new(&text).sources()));
        drop(Config::load(&set(&[&text])));
    }
}
