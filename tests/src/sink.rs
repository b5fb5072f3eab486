//! A destination of tests: an HTTP server that answers as it is told, records what it was asked,
//! and counts connections. It speaks HTTP by itself, so that it can break its rules. What a history
//! of its requests means is in `history`.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it was read whole.
    pub at: Instant,
    /// Such as `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// A header.
    ///
    /// # Panics
    /// When it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status, with more header lines (each ending in CR LF).
    Status(u16, String),
    /// The same, with a body.
    Reply {
        /// The status code.
        status: u16,
        /// More header lines, each ending in CR LF.
        headers: String,
        /// What follows them.
        body: String,
    },
    /// 200 after a while.
    Slow(Duration),
    /// Closes the connection without a word.
    Close,
    /// What is no HTTP.
    Garbage,
    /// 200 and a body that never ends.
    Endless,
    /// Nothing, for as long as the connection lasts.
    Never,
    /// The other answer, once it is notified.
    Once(Arc<Notify>, Box<Answer>),
    /// 200, and when that is written, this.
    Then(Hook),
}

/// Something to be done.
#[derive(Clone)]
pub struct Hook(pub Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

impl Answer {
    /// A status and nothing else.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status(status, String::new())
    }
}

type Script = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

struct State {
    script: Script,
    /// Whether a request that is there is read at all.
    hangs_up: Arc<dyn Fn() -> bool + Send + Sync>,
    asked: Vec<Asked>,
    connections: usize,
    open: usize,
}

/// A connection that is open.
struct Open(Arc<Mutex<State>>);

impl Open {
    fn new(state: &Arc<Mutex<State>>) -> Self {
        with(state, |state| {
            state.connections += 1;
            state.open += 1;
        });
        Self(state.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        with(&self.0, |state| state.open -= 1);
    }
}

/// The sink; it ends when it is dropped.
pub struct Sink {
    /// Where it listens, also when it is stopped.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    tls: Option<TlsAcceptor>,
    serving: Option<JoinHandle<()>>,
    /// Keeps the port while it is stopped, which somebody else could get meanwhile.
    _port: Option<TcpSocket>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Sink {
    /// One that answers 200.
    pub async fn start() -> Self {
        Self::with(None, |_| Answer::status(200)).await
    }

    /// One that answers as `script` says, over TLS or not.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn with(
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let socket = bound(([127, 0, 0, 1], 0).into()).expect("a free port");
        let port = bound(socket.local_addr().expect("an address")).expect("the same port");
        let listener = socket.listen(BACKLOG).expect("it listens");
        let mut sink = Self::on(listener, tls, script);
        sink._port = Some(port);
        sink
    }

    /// One that listens there already.
    ///
    /// # Panics
    /// When it does not.
    pub fn on(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("an address");
        let state = State {
            script: Arc::new(script),
            hangs_up: Arc::new(|| false),
            asked: Vec::new(),
            connections: 0,
            open: 0,
        };
        let state = Arc::new(Mutex::new(state));
        let mut sink = Self { address, state, tls, serving: None, _port: None };
        sink.serve(listener);
        sink
    }

    /// Answers as this says from now on.
    pub fn answer(&self, script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) {
        self.locked(|state| state.script = Arc::new(script));
    }

    /// From now on this is asked when a request has come, before it is read: whether to break the
    /// connection instead. What is not read is not in [`Sink::asked`].
    pub fn hang_up(&self, when: impl Fn() -> bool + Send + Sync + 'static) {
        self.locked(|state| state.hangs_up = Arc::new(when));
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// What it was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.locked(|state| state.asked.clone())
    }

    /// How often it was connected to.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.locked(|state| state.connections)
    }

    /// Waits until no connection is open: what clients that are gone have sent is read by then.
    ///
    /// # Panics
    /// When it does not listen.
    pub async fn quiet(&self) {
        // Connections are taken in order: when this one is closed, those before it are counted.
        let mut last = TcpStream::connect(self.address).await.expect("it listens");
        last.shutdown().await.expect("the connection can be closed");
        let mut nothing = Vec::new();
        let closed = last.read_to_end(&mut nothing);
        crate::wait::soon("the connection is closed", closed).await.expect("it is closed in order");
        let closed = || async { self.locked(|state| (state.open == 0).then_some(())) };
        crate::wait::eventually("the connections are closed", closed).await;
    }

    /// Waits until it was asked so often.
    pub async fn until(&self, count: usize) -> Vec<Asked> {
        let asked = || async { Some(self.asked()).filter(|asked| asked.len() >= count) };
        crate::wait::eventually("enough requests", asked).await
    }

    /// Connections are refused from now on, and those there are break.
    pub fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }

    /// Listens again where it did.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn again(&mut self) {
        // What was aborted listens until its task is gone.
        let bind = || async { bound(self.address).ok()?.listen(BACKLOG).ok() };
        let listener = crate::wait::eventually("its port again", bind).await;
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let (state, tls) = (self.state.clone(), self.tls.clone());
        self.serving = Some(tokio::spawn(async move {
            // Dropped with this task: then they break.
            let mut open = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                open.spawn(connection(socket, tls.clone(), Open::new(&state)));
                while open.try_join_next().is_some() {}
            }
        }));
    }

    fn locked<T>(&self, with_state: impl FnOnce(&mut State) -> T) -> T {
        with(&self.state, with_state)
    }
}

const BACKLOG: u32 = 1_024;

/// A socket with this address, which others may have too as long as none of them listens.
fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn with<T>(state: &Mutex<State>, with_state: impl FnOnce(&mut State) -> T) -> T {
    with_state(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn connection(socket: TcpStream, tls: Option<TlsAcceptor>, open: Open) {
    // A client that goes away is no failure of the sink.
    let _ = match tls {
        None => requests(socket, &open.0).await,
        Some(tls) => match tls.accept(socket).await {
            Ok(stream) => requests(stream, &open.0).await,
            Err(error) => Err(error),
        },
    };
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        if !stream.fill_buf().await?.is_empty() && with(state, |state| state.hangs_up.clone())() {
            return Ok(());
        }
        let Some(asked) = read(&mut stream).await? else { return Ok(()) };
        let mut answer = with(state, |state| {
            state.asked.push(asked.clone());
            state.script.clone()
        })(&asked);
        while let Answer::Once(notify, then) = answer {
            notify.notified().await;
            answer = *then;
        }
        let mut after = None;
        let (status, more, body) = match answer {
            Answer::Status(status, more) => (status, more, String::new()),
            Answer::Reply { status, headers, body } => (status, headers, body),
            Answer::Slow(time) => {
                sleep(time).await;
                (200, String::new(), String::new())
            }
            Answer::Close => return Ok(()),
            Answer::Garbage => {
                stream.write_all(b"\x00\x01 what is this\r\n\r\n\r\n").await?;
                return stream.flush().await;
            }
            Answer::Endless => {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                loop {
                    let chunk = format!("2000\r\n{}\r\n", "x".repeat(0x2000));
                    stream.write_all(chunk.as_bytes()).await?;
                    stream.flush().await?;
                }
            }
            Answer::Never | Answer::Once(..) => std::future::pending().await,
            Answer::Then(hook) => {
                after = Some(hook);
                (200, String::new(), String::new())
            }
        };
        let length = body.len();
        let reply =
            format!("HTTP/1.1 {status} Said\r\n{more}content-length: {length}\r\n\r\n{body}");
        stream.write_all(reply.as_bytes()).await?;
        stream.flush().await?;
        if let Some(Hook(hook)) = after {
            hook();
        }
    }
}

async fn read(stream: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|it: &String| it.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok(Some(Asked { at: Instant::now(), method, target, headers, body }))
}
