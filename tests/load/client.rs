//! As little HTTP/1.1 as is needed to send a request and know whether it was accepted.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One kept-open connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Box<[u8; 2048]>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Box::new([0; 2048]) })
    }

    /// Sends a request and reads its reply; whether it is a 202 for one new event.
    pub(crate) async fn accepted(&mut self, request: &[u8]) -> anyhow::Result<bool> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            anyhow::ensure!(read > 0, "the server closed the connection or sent too much");
            filled += read;
            if let Some((status, body)) = parse(&self.buffer[..filled])? {
                return Ok(status == b"202" && body.starts_with(b"{\"accepted\":1,"));
            }
        }
    }
}

/// Status and body, once all of it is there.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(&[u8], &[u8])>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let (head, body) = (std::str::from_utf8(&bytes[..end])?, &bytes[end + 4..]);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>())
    });
    let length = length.ok_or_else(|| anyhow::anyhow!("a reply has no length"))??;
    let status = bytes.get(9..12).unwrap_or_default();
    Ok((body.len() >= length).then_some((status, &body[..length])))
}
