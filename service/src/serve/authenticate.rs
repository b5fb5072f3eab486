//! Who makes a call to the gRPC listener: one layer around all services. It reads the certificate
//! of the connection and the token of the request, and puts a [`Caller`] into the request or
//! answers UNAUTHENTICATED. What a caller may do is for the services to ask.
//!
//! A token that is presented decides, whatever else is known of the caller: who sends a wrong one
//! is told so, not silently taken for somebody else.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::{Extensions, HeaderMap, Request, Response, header::AUTHORIZATION};
use segment_source_rpc::{Access, Caller, problem};
use segment_source_runtime::tls::{Peer, Role};
use tokio_util::either::Either;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

/// Probes carry no token; what they learn is on the health pages, too.
const OPEN_TO_ALL: &str = "/grpc.health.v1.Health/";

/// Puts the caller into every request.
#[derive(Clone, Debug)]
pub(crate) struct Authenticate {
    access: Access,
}

impl Authenticate {
    /// Knows these tokens.
    pub(crate) fn new(access: Access) -> Self {
        Self { access }
    }

    /// Who makes this call.
    fn caller(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Caller, Status> {
        if let Some(token) = token(headers)? {
            return self.access.caller(token).ok_or_else(problem::token_unknown);
        }
        // Every connection of the listener says who is at its other end.
        let peer = extensions.get::<Peer>().ok_or_else(problem::token_missing)?;
        let loopback =
            peer.address.is_some_and(|address| address.ip().to_canonical().is_loopback());
        match peer.encrypted {
            false if loopback => Ok(Caller::Local),
            true if peer.roles.contains(Role::Edge) => Ok(Caller::Edge),
            true if !peer.roles.is_empty() => Err(problem::role_missing(&peer.roles.to_string())),
            _ => Err(problem::token_missing()),
        }
    }
}

/// The bearer token of a request, if it presents one.
fn token(headers: &HeaderMap) -> Result<Option<&[u8]>, Status> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(only) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(problem::token_malformed());
    }
    let value = only.as_bytes().trim_ascii();
    let (scheme, token) = match value.iter().position(u8::is_ascii_whitespace) {
        Some(space) => value.split_at(space),
        None => (value, &[][..]),
    };
    let token = token.trim_ascii();
    match scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty() {
        true => Ok(Some(token)),
        false => Err(problem::token_malformed()),
    }
}

impl<S> Layer<S> for Authenticate {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { authenticate: self.clone(), inner }
    }
}

/// Services behind [`Authenticate`].
#[derive(Clone, Debug)]
pub(crate) struct Authenticated<S> {
    authenticate: Authenticate,
    inner: S,
}

impl<S, B> Service<Request<B>> for Authenticated<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if request.uri().path().starts_with(OPEN_TO_ALL) {
            return Either::Left(self.inner.call(request));
        }
        match self.authenticate.caller(request.headers(), request.extensions()) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}
