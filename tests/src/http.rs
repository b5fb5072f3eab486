//! HTTP/1.1 by hand over one TCP connection, so that a test decides about every byte it sends.

use std::{io, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in wire order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of that (lower-case) name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What a 202 says: accepted and duplicate elements.
    ///
    /// # Panics
    /// When it is no 202 with exactly these two numbers.
    #[must_use]
    #[track_caller]
    pub fn counts(&self) -> (u64, u64) {
        assert_eq!(self.status, 202, "{}", self.text());
        let body: Value = serde_json::from_slice(&self.body).expect("a 202 has a JSON body");
        let fields = body.as_object().expect("a 202 has a JSON object");
        assert_eq!(fields.len(), 2, "{body}");
        let number = |name: &str| fields.get(name).and_then(Value::as_u64).expect("a number");
        (number("accepted"), number("duplicate"))
    }

    /// Asserts status 503 with a sane `Retry-After`.
    ///
    /// # Panics
    /// When it is not that.
    #[track_caller]
    pub fn assert_heals(&self) {
        assert_eq!(self.status, 503, "{}", self.text());
        self.assert_retry_after();
    }

    /// Asserts that `Retry-After` is a number of seconds that Segment can wait.
    ///
    /// # Panics
    /// When it is missing or not that.
    #[track_caller]
    pub fn assert_retry_after(&self) {
        let after = self.header("retry-after").expect("has Retry-After");
        let seconds: u64 = after.parse().expect("Retry-After is a number of seconds");
        assert!((1..=3600).contains(&seconds), "Retry-After: {after}");
    }
}

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Request {
    head: String,
    body: Vec<u8>,
    length: bool,
}

impl Request {
    /// Starts with the request line and a Host.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: segment-source.test\r\n");
        Self { head, body: Vec::new(), length: true }
    }

    /// The request line alone; every header is the caller's.
    #[must_use]
    pub fn bare(method: &str, target: &str) -> Self {
        Self { head: format!("{method} {target} HTTP/1.1\r\n"), body: Vec::new(), length: false }
    }

    /// Adds a header, also one that is there already.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Sets the body; its Content-Length is added when the request is written.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone().into_bytes();
        if self.length {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// One connection, kept open between requests.
#[derive(Debug)]
pub struct Connection(BufStream<TcpStream>);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufStream::with_capacity(64 << 10, 64 << 10, stream)))
    }

    /// Sends a request and reads the reply.
    ///
    /// # Errors
    /// When the connection ends before the reply does.
    pub async fn call(&mut self, request: &Request) -> io::Result<Reply> {
        self.send(&request.bytes()).await?;
        self.reply().await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// When the connection ends before the reply does, or what comes is not HTTP/1.1.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line().await?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| bad(&format!("no status line: {line}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("a header has no colon"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        if status == 100 {
            return Box::pin(self.reply()).await;
        }
        if let Some(length) = reply.header("content-length") {
            let length = length.parse().map_err(|_| bad("Content-Length is no number"))?;
            reply.body = vec![0; length];
            self.0.read_exact(&mut reply.body).await?;
        } else if reply.header("transfer-encoding").is_some() {
            self.chunks(&mut reply.body).await?;
        }
        Ok(reply)
    }

    /// Whether the other side has closed the connection; waits until it has or sends something.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn closed(&mut self) -> io::Result<bool> {
        match self.0.read(&mut [0]).await {
            Ok(read) => Ok(read == 0),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let size = self.line().await?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| bad("no chunk size"))?;
            let start = body.len();
            body.resize(start + size, 0);
            self.0.read_exact(&mut body[start..]).await?;
            self.line().await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await?);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(|_| bad("a line is not UTF-8"))
    }
}

/// One request on a connection of its own.
///
/// # Panics
/// When there is no reply.
pub async fn call(address: SocketAddr, request: &Request) -> Reply {
    let mut connection = Connection::open(address).await.expect("the server takes connections");
    crate::wait::soon("a reply", connection.call(request)).await.expect("the server replies")
}

fn bad(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
