//! A small HTTP client that sends exactly what a test says.

use std::net::SocketAddr;

use segment_source_core::signature::Secret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) const SECRET: &str = "not-a-real-secret";

/// A request that can be read as a sentence.
#[derive(Clone)]
pub(crate) struct Post {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Post {
    /// An unsigned POST to the source prod/web.
    pub(crate) fn body(body: impl AsRef<[u8]>) -> Self {
        Self {
            method: "POST".to_owned(),
            path: "/v1/sources/prod/web".to_owned(),
            headers: Vec::new(),
            body: body.as_ref().to_vec(),
            chunked: false,
        }
    }

    /// A POST signed over its whole body.
    pub(crate) fn signed(body: impl AsRef<[u8]>) -> Self {
        let message = body.as_ref().to_vec();
        Self::body(body).signed_over(&message)
    }

    pub(crate) fn signed_over(self, message: &[u8]) -> Self {
        let signature = Secret::new(SECRET.as_bytes()).unwrap().sign(message).to_hex();
        self.header("X-Signature", &signature)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Sends the body in chunks, without a length.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    pub(crate) fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: edge.test\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match self.chunked {
            true => head += "transfer-encoding: chunked\r\n\r\n",
            false => head += &format!("content-length: {}\r\n\r\n", self.body.len()),
        }
        head
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head().into_bytes();
        if !self.chunked {
            bytes.extend(&self.body);
            return bytes;
        }
        for chunk in self.body.chunks(60_000) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn to(&self, edge: SocketAddr) -> Answer {
        self.on(&mut Connection::open(edge).await).await
    }

    /// Sends it on an open connection.
    pub(crate) async fn on(&self, connection: &mut Connection) -> Answer {
        connection.write(&self.bytes()).await;
        connection.answer().await.unwrap()
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The machine-readable reason of a refusal; `accepted` for 202.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["code"].as_str().unwrap_or("accepted").to_owned()
    }
}

/// A connection that is kept open.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(edge: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(edge).await.unwrap(), read: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next answer; `None` when the connection ended before one began.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        loop {
            if let Some((answer, length)) = parse(&self.read) {
                self.read.drain(..length);
                return Some(answer);
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => {
                    assert!(self.read.is_empty(), "the connection ended inside an answer");
                    return None;
                }
                Ok(_) => {}
            }
        }
    }

    /// Whether the other side has ended the connection.
    pub(crate) async fn is_ended(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.read).await, Ok(0) | Err(_))
    }
}

fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    let body = bytes.get(end..end + length)?;
    let body = String::from_utf8(body.to_vec()).unwrap();
    Some((Answer { status, headers, body }, end + length))
}
