//! What destinations of the benchmarks post to: as little HTTP/1.1 as keeps connections open. One
//! that breaks the rules of HTTP, and remembers what it was asked, is `sink`'s.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use crate::wire::{Message, after};

/// The largest request.
const LARGEST: usize = 256 << 10;

/// What a request is answered.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// 200, otherwise 503.
    pub good: bool,
    /// How long after the request.
    pub after: Duration,
}

/// Decides by the head and the body of a request.
pub type Judge = dyn Fn(&[u8], &[u8]) -> Answer + Send + Sync;

/// The endpoint; it ends when it is dropped.
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    serving: JoinHandle<()>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.address)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Endpoint {
    /// Starts one on a free port of loopback.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start(judge: Arc<Judge>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let judge = judge.clone();
                // A client that goes away is no failure of the endpoint.
                tokio::spawn(async move { _ = requests(stream, &*judge).await });
            }
        });
        Ok(Self { address, serving })
    }
}

async fn requests(mut stream: TcpStream, judge: &Judge) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = (vec![0; 16 << 10], 0);
    let mut asked_to_go_on = false;
    loop {
        let message = loop {
            if let Some(found) = Message::whole(&buffer[..filled])? {
                break found;
            }
            let head = after(&buffer[..filled], b"\r\n\r\n").map(|end| &buffer[..end]);
            if !asked_to_go_on && head.is_some_and(|head| after(head, b"100-continue").is_some()) {
                asked_to_go_on = true;
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            if filled == buffer.len() {
                anyhow::ensure!(filled < LARGEST, "a request is too large");
                buffer.resize(2 * filled, 0);
            }
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        };
        asked_to_go_on = false;
        let answer = judge(&buffer[..message.body], &message.body_of(&buffer[..message.end]));
        if !answer.after.is_zero() {
            sleep(answer.after).await;
        }
        let reply: &[u8] = match answer.good {
            true => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            false => b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        };
        stream.write_all(reply).await?;
        if message.closes {
            return Ok(());
        }
        buffer.copy_within(message.end..filled, 0);
        filled -= message.end;
    }
}
