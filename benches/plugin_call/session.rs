//! A broker with a worker that is connected to it over loopback, as a program of its own would be.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, OnceLock},
    thread,
};

use jackfield::{
    Broker,
    config::{Config, Sources},
};
use jackfield_plugin_api::{Host, Manifest, Plugin, Registrar, Result, manifest, register_plugin};

/// The host that the plugin below was given.
static HOST: OnceLock<Arc<dyn Host>> = OnceLock::new();

/// By way of this plugin the benchmark asks the broker's registry.
struct Asker;

register_plugin!(Asker);

impl Plugin for Asker {
    fn manifest(&self) -> Manifest {
        manifest!("asker")
    }

    fn register(&self, registrar: &mut Registrar) -> Result<()> {
        HOST.get_or_init(|| registrar.host());
        Ok(())
    }
}

/// Starts both: the broker, which has to be kept, and its host.
pub(crate) async fn start() -> (Broker, Arc<dyn Host>) {
    let sources = Sources {
        listen: vec!["tcp://127.0.0.1:0".into()],
        plugins: vec!["auth-open".into(), "asker".into()],
        set: vec![r#"service.main.rule=[{allow=["register:**"]}]"#.into()],
        ..Sources::default()
    };
    let config = Config::load(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    let broker = Broker::start(config).await.unwrap();
    let url = broker.addresses().listeners.first().unwrap();
    let socket = TcpStream::connect(url.strip_prefix("tcp://").unwrap()).unwrap();
    let worker = thread::spawn(move || Worker::register(socket));
    let worker = tokio::task::spawn_blocking(|| worker.join().unwrap()).await.unwrap();
    thread::spawn(|| worker.serve());
    (broker, Arc::clone(HOST.get().unwrap()))
}

/// Serves class `session`: gives back what it gets. It allocates nothing while it does.
struct Worker {
    reader: BufReader<TcpStream>,
    line: String,
    answer: String,
}

impl Worker {
    fn register(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        let mut worker =
            Self { reader: BufReader::new(socket), line: String::new(), answer: String::with_capacity(1024) };
        worker.ask(r#"{"class":"core","subclass":"user","cmd":"login","data":{"user":"worker"},"tid":1}"#);
        worker.ask(
            r#"{"class":"core","subclass":"registry","cmd":"register","data":{"class":"session"},"tid":2}"#,
        );
        worker
    }

    fn ask(&mut self, request: &str) {
        self.send(&format!("{request}\n"));
        assert!(self.next() && self.line.contains(r#""result":"ok""#), "{}", self.line);
    }

    fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Reads a line, as long as there is one.
    fn next(&mut self) -> bool {
        self.line.clear();
        self.reader.read_line(&mut self.line).is_ok_and(|length| length > 0)
    }

    fn serve(mut self) {
        while self.next() {
            // Data is flat here, and absent where it is empty.
            let data = self.line.split_once(r#""data":"#).and_then(|(_, rest)| rest.split_once('}'));
            let data = data.map_or("{", |(data, _)| data);
            let (_, tid) = self.line.split_once(r#""tid":"#).unwrap();
            let (tid, _) = tid.split_once([',', '}']).unwrap();
            self.answer.clear();
            for part in [r#"{"result":"ok","data":"#, data, r#"},"tid":"#, tid, "}\n"] {
                self.answer.push_str(part);
            }
            self.reader.get_mut().write_all(self.answer.as_bytes()).unwrap();
        }
    }
}

/// Where lines are given back: what loopback itself costs.
pub(crate) fn mirror() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        let (mut reader, mut line) = (BufReader::new(socket), String::new());
        while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
            reader.get_mut().write_all(line.as_bytes()).unwrap();
            line.clear();
        }
    });
    address
}
