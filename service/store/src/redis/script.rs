//! The scripts, each one step that happens as a whole or not at all, and how they are called. What they
//! do is said where they are, in `lua/`.

use std::time::Instant;

use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, ToRedisArgs,
};
use sha1::{Digest as _, Sha1};

use super::{
    connect::{Connection, RESPONSE},
    windows,
};

const PRELUDE: &str = include_str!("lua/prelude.lua");

pub(super) struct Script {
    code: String,
    sha: String,
}

/// Whether a step takes place although Redis has no memory left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// It frees more than it takes, or what was accepted is owed.
    Reserve,
    Ordinary,
}

impl Script {
    fn new(memory: Memory, body: &str) -> Self {
        let flags = match memory {
            Memory::Reserve => "flags=allow-oom",
            Memory::Ordinary => "",
        };
        Self::alone(&format!("#!lua {flags}\n{}{PRELUDE}{body}", windows::lua()))
    }

    fn alone(code: &str) -> Self {
        let sha = Sha1::digest(code.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { code: code.to_owned(), sha }
    }

    /// So that the first call need not.
    pub(super) async fn load(&self, connection: &Connection) -> RedisResult<()> {
        redis::cmd("SCRIPT").arg("LOAD").arg(&self.code).query_async(&mut connection.clone()).await
    }

    pub(super) async fn call<T: FromRedisValue>(
        &self,
        connection: &Connection,
        keys: &[Vec<u8>],
        args: &Args,
    ) -> RedisResult<T> {
        let (mut connection, begun) = (connection.clone(), Instant::now());
        match self.command("EVALSHA", &self.sha, keys, args).query_async(&mut connection).await {
            // Not when it would come too late.
            Err(error) if unknown(&error) && begun.elapsed() < RESPONSE => {
                self.command("EVAL", &self.code, keys, args).query_async(&mut connection).await
            }
            answer => answer,
        }
    }

    fn command(&self, name: &str, script: &str, keys: &[Vec<u8>], args: &Args) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(keys.len()).arg(keys);
        args.0.iter().for_each(|arg| {
            command.arg(arg);
        });
        command
    }
}

/// Redis was restarted, or another master took over.
fn unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Arguments of a call, in order.
#[derive(Default)]
pub(super) struct Args(Vec<Vec<u8>>);

impl Args {
    pub(super) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.push(arg);
        self
    }

    pub(super) fn push(&mut self, arg: impl ToRedisArgs) {
        self.0.extend(arg.to_redis_args());
    }

    pub(super) fn append(&mut self, args: Self) {
        self.0.extend(args.0);
    }

    pub(super) fn bytes(&mut self, arg: impl Into<Vec<u8>>) {
        self.0.push(arg.into());
    }
}

macro_rules! scripts {
    ($($name:ident: $memory:ident,)*) => {
        /// One of each.
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)*
            /// Of no partition.
            pub(super) members: Script,
        }

        impl Default for Scripts {
            fn default() -> Self {
                Self {
                    $($name: Script::new(
                        Memory::$memory,
                        include_str!(concat!("lua/", stringify!($name), ".lua")),
                    ),)*
                    members: Script::alone(include_str!("lua/members.lua")),
                }
            }
        }

        impl Scripts {
            pub(super) fn all(&self) -> impl Iterator<Item = &Script> {
                [$(&self.$name,)* &self.members].into_iter()
            }
        }
    };
}

scripts! {
    accept: Ordinary,
    advance: Reserve,
    backlog: Reserve,
    directory: Ordinary,
    disown: Reserve,
    erase: Reserve,
    expire: Reserve,
    own: Reserve,
    plan: Reserve,
    replay: Ordinary,
    retain: Reserve,
    revive: Ordinary,
    settle: Reserve,
    story: Reserve,
    swap: Reserve,
    sweep: Reserve,
    take: Reserve,
    tick: Reserve,
    void: Reserve,
}
