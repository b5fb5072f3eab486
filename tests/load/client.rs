//! As little HTTP/1.1 as is needed to send a request and know whether it was accepted.

use std::net::SocketAddr;

use segment_source_tests::wire::{Message, status};
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

    /// Sends a request and reads its reply; whether it is a 202 for so many new events.
    pub(crate) async fn accepted(&mut self, request: &[u8], events: u32) -> anyhow::Result<bool> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            anyhow::ensure!(read > 0, "the server closed the connection or sent too much");
            filled += read;
            let bytes = &self.buffer[..filled];
            if let Some(reply) = Message::whole(bytes)? {
                let expected = format!("{{\"accepted\":{events},");
                let counted = bytes[reply.body..].starts_with(expected.as_bytes());
                return Ok(status(bytes) == Some(202) && counted);
            }
        }
    }
}
