//! Who makes a call, and whether they may. A caller is put into the request by whoever checked its
//! proof; services only ask. A token's rights are looked up each time, so that what is asked of a
//! caller is answered with the newest configuration, also in the middle of a call.

use segment_source_core::source::{SourceHash, SourceId};
use tonic::{Request, Status};

use crate::{
    access::{Access, Right, Scope, Token},
    problem,
};

/// Who makes a call.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The edge, by its certificate or by being in the same process. It submits, and what it says
    /// of verification is believed.
    Edge,
    /// Someone on this machine, without a token, on a listener that only this machine can reach.
    /// It may do what the edge and the platform may.
    Local,
    /// Whoever runs the program, by the platform token. It may do everything with every source,
    /// but is not believed as the edge is.
    Platform(Session),
    /// A client of some sources, by its token.
    Client(Session),
}

/// A token that was known when the call began.
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) token: Token,
    pub(crate) access: Access,
}

impl Access {
    /// Whose token it is; `None`: nobody's.
    #[must_use]
    pub fn caller(&self, token: &[u8]) -> Option<Caller> {
        let token = Token::new(token)?;
        let session = || Session { token, access: self.clone() };
        if *self.platform.borrow() == Some(token) {
            return Some(Caller::Platform(session()));
        }
        let known = self.clients.borrow().get(token).is_some();
        known.then(|| Caller::Client(session()))
    }
}

/// Who makes this call.
///
/// # Errors
/// UNAUTHENTICATED when nobody said who it is: then it is treated as nobody's.
pub fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    request.extensions().get().ok_or_else(problem::token_missing)
}

impl Caller {
    /// Whether what it says about how an event was verified is believed.
    #[must_use]
    pub fn is_believed(&self) -> bool {
        matches!(self, Self::Edge | Self::Local)
    }

    /// # Errors
    /// PERMISSION_DENIED when the caller is known and lacks the right on the source, whether or not
    /// there is such a source; UNAUTHENTICATED when its token is no longer known.
    pub fn authorize(&self, right: Right, source: &SourceId) -> Result<(), Status> {
        self.check(right, Scope::Source(source))
    }

    /// As [`Caller::authorize`], for the source of an event id or a lease.
    ///
    /// # Errors
    /// As there.
    pub fn authorize_hash(&self, right: Right, source: SourceHash) -> Result<(), Status> {
        self.check(right, Scope::Hash(source))
    }

    /// Whether the caller has the right on some source: all it needs to begin a call that names its
    /// sources later.
    ///
    /// # Errors
    /// As [`Caller::authorize`].
    pub fn authorize_somewhere(&self, right: Right) -> Result<(), Status> {
        self.check(right, Scope::Anywhere)
    }

    fn check(&self, right: Right, scope: Scope<'_>) -> Result<(), Status> {
        let source = match scope {
            Scope::Source(source) => Some(source),
            Scope::Hash(_) | Scope::Anywhere => None,
        };
        match self {
            Self::Local => Ok(()),
            Self::Edge if right == Right::Submit => Ok(()),
            Self::Edge => Err(problem::denied_to_edge(right, source)),
            Self::Platform(session) => {
                let known = *session.access.platform.borrow() == Some(session.token);
                known.then_some(()).ok_or_else(problem::token_unknown)
            }
            Self::Client(session) => match session.access.clients.borrow().get(session.token) {
                None => Err(problem::token_unknown()),
                Some(client) if client.may(right, scope) => Ok(()),
                Some(_) => Err(problem::denied(right, source)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use segment_source_core::source::SourceId;
    use tokio::sync::watch;
    use tonic::{Code, Request};
    use tonic_types::StatusExt as _;

    use super::{Caller, caller};
    use crate::{Access, Clients, Grant, Right, Token};

    fn web() -> SourceId {
        "prod/web".parse().unwrap()
    }

    fn clients(token: &str, rights: &[Right]) -> Arc<Clients> {
        let rights = rights.iter().copied().collect();
        let grant = Grant { name: "billing".into(), token: Token::new(token.as_bytes()), rights };
        Arc::new(Clients::new([(&web(), &[grant][..])]))
    }

    #[test]
    fn rights_follow_the_newest_table() {
        let (table, seen) = watch::channel(clients("a", &[Right::Read]));
        let (_platform, platform) = watch::channel(None);
        let access = Access::new(seen, platform);
        assert!(access.caller(b"b").is_none());
        assert!(access.caller(b"").is_none());
        let caller = access.caller(b"a").unwrap();
        let check = |right| caller.authorize(right, &web()).map_err(|status| status.code());
        assert_eq!(check(Right::Read), Ok(()));
        assert_eq!(check(Right::Consume), Err(Code::PermissionDenied));
        table.send_replace(clients("a", &[Right::Consume]));
        assert_eq!(check(Right::Read), Err(Code::PermissionDenied));
        assert_eq!(check(Right::Consume), Ok(()));
        table.send_replace(clients("b", &[Right::Read]));
        assert_eq!(check(Right::Read), Err(Code::Unauthenticated));
    }

    #[test]
    fn a_refusal_is_the_same_for_sources_that_are_not_there() {
        let (_table, seen) = watch::channel(clients("a", &[]));
        let (_platform, platform) = watch::channel(None);
        let caller = Access::new(seen, platform).caller(b"a").unwrap();
        let told = |source: &str| {
            let source: SourceId = source.parse().unwrap();
            let status = caller.authorize(Right::Read, &source).unwrap_err();
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.domain, "segment-source.dev");
            assert_eq!(info.reason, "PERMISSION_DENIED");
            assert_eq!(info.metadata["right"], "Read");
            assert_eq!(info.metadata["source"], source.to_string());
            status.message().replace(source.as_str(), "SOURCE")
        };
        assert_eq!(told("prod/web"), told("prod/absent"));
    }

    #[test]
    fn the_platform_may_everything_until_its_token_changes() {
        let (_table, seen) = watch::channel(Arc::default());
        let (token, platform) = watch::channel(Token::new(b"p"));
        let caller = Access::new(seen, platform).caller(b"p").unwrap();
        for right in Right::ALL {
            assert!(caller.authorize(right, &web()).is_ok());
            assert!(caller.authorize_hash(right, web().hash()).is_ok());
            assert!(caller.authorize_somewhere(right).is_ok());
        }
        assert!(!caller.is_believed());
        token.send_replace(None);
        let status = caller.authorize(Right::Read, &web()).unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
    }

    #[test]
    fn the_edge_submits_and_no_more() {
        for right in Right::ALL {
            let allowed = Caller::Edge.authorize(right, &web());
            assert_eq!(allowed.is_ok(), right == Right::Submit, "{right:?}");
            assert!(Caller::Local.authorize(right, &web()).is_ok());
        }
    }

    #[test]
    fn a_request_that_nobody_vouches_for_is_nobodys() {
        let mut request = Request::new(());
        assert_eq!(caller(&request).unwrap_err().code(), Code::Unauthenticated);
        request.extensions_mut().insert(Caller::Edge);
        assert!(matches!(caller(&request), Ok(Caller::Edge)));
    }
}
