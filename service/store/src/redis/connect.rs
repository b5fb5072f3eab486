//! stand-in
use super::target::Target;
use redis::{
    Cmd, Pipeline, PushInfo, PushKind, RedisError, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};
use std::time::Duration;
use tokio_stream::wrappers::UnboundedReceiverStream;

#[derive(Clone)]
pub struct Connection(ConnectionManager);
impl Connection {
    pub async fn open(target: &Target) -> RedisResult<Self> {
        let client = redis::Client::open(target.url.as_str())?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(Duration::from_secs(10)))
            .set_pipeline_buffer_size(1024);
        Ok(Self(ConnectionManager::new_with_config(client, config).await?))
    }
}
impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.req_packed_command(cmd)
    }
    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.0.req_packed_commands(cmd, offset, count)
    }
    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}
pub enum Heard {
    Message { channel: Vec<u8>, message: Vec<u8> },
    Resubscribed,
}
pub type News = UnboundedReceiverStream<Heard>;
pub async fn listen(target: &Target, channels: Vec<Vec<u8>>) -> RedisResult<News> {
    let url = if target.url.contains('?') {
        format!("{}&protocol=resp3", target.url)
    } else {
        format!("{}?protocol=resp3", target.url)
    };
    let client = redis::Client::open(url)?;
    let (send, receive) = tokio::sync::mpsc::unbounded_channel();
    let (push, mut pushed) = tokio::sync::mpsc::unbounded_channel::<PushInfo>();
    let config = redis::AsyncConnectionConfig::new().set_push_sender(push);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    for channel in &channels {
        redis::cmd("SSUBSCRIBE").arg(channel).exec_async(&mut connection).await?;
    }
    tokio::spawn(async move {
        let _connection = connection;
        while let Some(info) = pushed.recv().await {
            if info.kind == PushKind::SMessage {
                let mut data = info.data.into_iter();
                if let (Some(Value::BulkString(channel)), Some(Value::BulkString(message))) =
                    (data.next(), data.next())
                {
                    if send.send(Heard::Message { channel, message }).is_err() {
                        return;
                    }
                }
            }
        }
    });
    Ok(UnboundedReceiverStream::new(receive))
}
pub fn words(error: &RedisError) -> String {
    error.to_string()
}
