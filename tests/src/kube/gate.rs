//! A way to the API server on which a single request can be held up, as a slow network does: what is
//! under way arrives later, whatever has become by then of the one who sent it. All else passes.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    response::Response,
};
use http::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONNECTION, HOST, TRANSFER_ENCODING},
    request::Parts,
};
use kube::Client;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::{api::ApiServer, keys::kubeconfig};
use crate::wait::soon;

/// Open until it is dropped. Whoever comes by it is the administrator.
#[derive(Debug)]
pub struct Gate {
    /// For `KUBECONFIG`.
    pub kubeconfig: PathBuf,
    orders: Arc<Mutex<Vec<Order>>>,
    task: JoinHandle<()>,
}

/// What is to be held up, and by whom.
#[derive(Debug)]
struct Order {
    method: Method,
    path: String,
    came: oneshot::Sender<()>,
    go: oneshot::Receiver<()>,
    answered: oneshot::Sender<StatusCode>,
}

/// A request that is held up, or will be. Dropping it lets it go on.
#[derive(Debug)]
pub struct Held {
    what: String,
    came: oneshot::Receiver<()>,
    go: oneshot::Sender<()>,
    answered: oneshot::Receiver<StatusCode>,
}

impl Gate {
    /// One to this API server.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn new(api: &ApiServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let ca = fs::read_to_string(&api.facts().ca).expect("the CA's certificate is there");
        let path = api.facts().folder.join(format!("gate-{}.kubeconfig", address.port()));
        let text = kubeconfig(&format!("http://{address}"), &ca, "none");
        fs::write(&path, text).expect("the folder is ours");
        let orders = Arc::default();
        let state = (api.client().await, Arc::clone(&orders));
        let router = Router::new().fallback(pass).with_state(state);
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it goes on");
        });
        Self { kubeconfig: path, orders, task }
    }

    /// Holds up the next request with this method and a path that ends so.
    ///
    /// # Panics
    /// When it is no method.
    #[must_use]
    pub fn hold(&self, method: &str, path: &str) -> Held {
        let what = format!("{method} {path}");
        let method = method.parse().expect("a method");
        let (came, has_come) = oneshot::channel();
        let (go, may_go) = oneshot::channel();
        let (answered, answer) = oneshot::channel();
        let order = Order { method, path: path.to_owned(), came, go: may_go, answered };
        self.orders.lock().expect("no panic while locked").push(order);
        Held { what, came: has_come, go, answered: answer }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Held {
    /// Waits until it is here. The API server has not seen it yet.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn came(&mut self) {
        soon(&self.what, &mut self.came).await.expect("the gate is open");
    }

    /// Sends it on; what the API server answers.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn go(self) -> u16 {
        self.go.send(()).expect("it is waiting");
        soon(&self.what, self.answered).await.expect("there is an answer").as_u16()
    }
}

type Gatekeeper = (Client, Arc<Mutex<Vec<Order>>>);

async fn pass(State((client, orders)): State<Gatekeeper>, head: Parts, body: Bytes) -> Response {
    let order = {
        let mut orders = orders.lock().expect("no panic while locked");
        let ordered = |it: &Order| it.method == head.method && head.uri.path().ends_with(&it.path);
        orders.iter().position(ordered).map(|at| orders.remove(at))
    };
    // In a task of its own: it goes on when the one who asked does not wait any more.
    let sent = tokio::spawn(async move {
        let Some(order) = order else { return send(&client, head, body).await };
        _ = order.came.send(());
        _ = order.go.await;
        let answer = send(&client, head, body).await;
        _ = order.answered.send(answer.status());
        answer
    });
    sent.await.expect("sending does not panic")
}

async fn send(client: &Client, head: Parts, body: Bytes) -> Response {
    let mut request = http::Request::from_parts(head, kube::client::Body::from(body));
    for name in [HOST, AUTHORIZATION] {
        request.headers_mut().remove(name);
    }
    let Ok(answer) = client.send(request).await else {
        let mut answer = Response::default();
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        return answer;
    };
    let mut answer = answer.map(Body::new);
    for name in [CONNECTION, TRANSFER_ENCODING] {
        answer.headers_mut().remove(name);
    }
    answer
}
