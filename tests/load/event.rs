//! One event of the generator's: its bytes, and which of its numbers change.

use segment_source_tests::{
    server::target,
    sign::SECRET,
    template::{EVENT, RUN, Template as Request, USER},
};

/// Name of the track event.
pub(crate) const NAME: &str = "Order Completed";
/// Different users, unless there are to be others; each is a lane.
pub(crate) const USERS: u64 = 10_000;

/// A request whose event is another one each time.
#[derive(Clone)]
pub(crate) struct Template {
    request: Request,
    run: u64,
    users: u64,
}

impl Template {
    /// Events of `size` bytes for a source of the test namespace: one, or in an array so many. `run`
    /// tells the ids of one start of the generator from those of another.
    pub(crate) fn new(
        source: &str,
        size: usize,
        run: u64,
        users: u64,
        batch: u32,
    ) -> anyhow::Result<Self> {
        let events: Vec<_> = (0..batch).map(|place| event(size, place)).collect();
        let body = match events.as_slice() {
            [one] => one.clone(),
            all => format!("[{}]", all.join(",")),
        };
        let request = Request::new(&target(source), SECRET, &body)?;
        Ok(Self { request, run, users })
    }

    /// The bytes of event number `n`, whose messageId tells when it was due instead of the run.
    pub(crate) fn event_due(&mut self, n: u64, micros: u64) -> &[u8] {
        self.bytes(micros, n)
    }

    /// The bytes of event number `n`.
    pub(crate) fn event(&mut self, n: u64) -> &[u8] {
        self.bytes(self.run, n)
    }

    fn bytes(&mut self, run: u64, n: u64) -> &[u8] {
        self.request.fill(run, n, n % self.users);
        let signature = self.request.signature();
        self.request.signed(&signature)
    }
}

/// The text of an event; with its place in an array its messageId is another than those before.
fn event(size: usize, place: u32) -> String {
    let place = if place == 0 { String::new() } else { format!("-{place:03}") };
    let start = format!(
        r#"{{"type":"track","messageId":"load-{RUN}-{EVENT}{place}","userId":"user-{USER}","event":"{NAME}","timestamp":"2026-03-02T10:15:30.220Z","properties":{{"order_id":"o-1001","revenue":39.95,"currency":"USD"}},"context":{{"library":{{"name":"@segment/analytics-node","version":"3.1.0"}},"filler":""#
    );
    // What stands for the numbers is shorter than they are.
    let numbers = 16 + 16 + 8 - RUN.len() - EVENT.len() - USER.len();
    let room = size.saturating_sub(start.len() + numbers + 3);
    format!("{start}{}\"}}}}", "x".repeat(room))
}
