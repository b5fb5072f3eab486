//! Permission for as long as a call goes on: an open stream ends soon after its token is revoked,
//! also when nothing happens on it.

use segment_source_core::source::SourceId;
use tokio::sync::watch;
use tonic::Status;

use crate::{Caller, Right, Session};

/// A right that was there when the call began.
#[derive(Clone, Debug)]
pub struct Permit {
    caller: Caller,
    right: Right,
    /// `None`: the call names its sources later, and each is checked then.
    source: Option<SourceId>,
}

impl Permit {
    /// For a call about one source.
    ///
    /// # Errors
    /// As [`Caller::authorize`].
    pub fn on(caller: &Caller, right: Right, source: SourceId) -> Result<Self, Status> {
        Self::checked(caller, right, Some(source))
    }

    /// For a call that names its sources later.
    ///
    /// # Errors
    /// As [`Caller::authorize_somewhere`].
    pub fn somewhere(caller: &Caller, right: Right) -> Result<Self, Status> {
        Self::checked(caller, right, None)
    }

    fn checked(caller: &Caller, right: Right, source: Option<SourceId>) -> Result<Self, Status> {
        let permit = Self { caller: caller.clone(), right, source };
        permit.check().map(|()| permit)
    }

    /// Whose it is.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether it is still there.
    ///
    /// # Errors
    /// As [`Caller::authorize`].
    pub fn check(&self) -> Result<(), Status> {
        match &self.source {
            Some(source) => self.caller.authorize(self.right, source),
            None => self.caller.authorize_somewhere(self.right),
        }
    }

    /// Waits until it is no longer there; with what the call ends then. Cancel-safe.
    pub async fn revoked(&mut self) -> Status {
        loop {
            if let Err(status) = self.check() {
                return status;
            }
            match &mut self.caller {
                // Known by more than a token: nothing to be revoked.
                Caller::Edge | Caller::Local => std::future::pending().await,
                Caller::Platform(session) | Caller::Client(session) => session.changed().await,
            }
        }
    }
}

impl Session {
    /// Waits until the known tokens or their rights may have changed. Cancel-safe.
    async fn changed(&mut self) {
        tokio::select! {
            () = changed(&mut self.access.clients) => {}
            () = changed(&mut self.access.platform) => {}
        }
    }
}

/// What nobody publishes any more does not change.
async fn changed<T>(seen: &mut watch::Receiver<T>) {
    if seen.changed().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;
    use tonic::Code;

    use super::Permit;
    use crate::{Access, Clients, Grant, Right, Token};

    #[tokio::test]
    async fn a_permit_ends_with_the_right_and_not_with_other_changes() {
        let source = "prod/web".parse().unwrap();
        let table = |rights: &[Right]| {
            let rights = rights.iter().copied().collect();
            let grant = Grant { name: "billing".into(), token: Token::new(b"a"), rights };
            Arc::new(Clients::new([(&source, &[grant][..])]))
        };
        let (clients, seen) = watch::channel(table(&[Right::Read]));
        // Nobody publishes a platform token.
        let (_, platform) = watch::channel(None);
        let caller = Access::new(seen, platform).caller(b"a").unwrap();
        let refused = Permit::on(&caller, Right::Consume, source.clone()).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        let mut permit = Permit::on(&caller, Right::Read, source.clone()).unwrap();
        clients.send_replace(table(&[Right::Read, Right::Submit]));
        {
            let revoked = std::pin::pin!(permit.revoked());
            let waited = tokio::time::timeout(std::time::Duration::from_millis(20), revoked).await;
            assert!(waited.is_err(), "the right is still there");
        }
        let (status, ()) = tokio::join!(permit.revoked(), async {
            tokio::task::yield_now().await;
            clients.send_replace(table(&[Right::Submit]));
        });
        assert_eq!(status.code(), Code::PermissionDenied);
    }
}
