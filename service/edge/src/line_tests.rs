//! Whose turn it is, and what it gets.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use segment_source_core::signature::{
    Batches, Mode, ReceivedRequest, Rules, Secrets, SignatureHeader,
};
use tokio::{sync::oneshot, time::Instant};

use super::{Line, ROOM, Take, Turn};
use crate::{
    Reply,
    body::Claim,
    posted::{Posted, Receipts},
    submit::Chunk,
};

/// A request of one event that waits in this many parts, and its parts.
fn request(parts: usize) -> (Arc<Posted>, Vec<Chunk>) {
    let rules =
        Rules { mode: Mode::Observe, secrets: Secrets::default(), batches: Batches::Reject };
    let received = ReceivedRequest::new(Bytes::from_static(b"{}"), SignatureHeader::Missing);
    let posted = Arc::new(Posted {
        source: "prod/web".parse().unwrap(),
        headers: Vec::new(),
        request: received.verify(&rules).unwrap(),
        receipts: Receipts::new().unwrap().reserve(1),
        _claim: Claim::default(),
    });
    let chunk = |_| Chunk {
        posted: Arc::downgrade(&posted),
        elements: 0..1,
        bytes: 600 << 10,
        answer: oneshot::channel().0,
        moved: false,
    };
    let chunks = (0..parts).map(chunk).collect();
    (posted, chunks)
}

const IDLE: Turn = Turn { doubted: false, unanswered: 0 };
const BUSY: Turn = Turn { doubted: false, unanswered: 1 };
const DOUBTED: Turn = Turn { doubted: true, unanswered: 0 };

/// A waker that counts.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A link that waits.
struct Waiting<'a> {
    take: Pin<Box<Take<'a>>>,
    bell: Arc<Bell>,
}

impl<'a> Waiting<'a> {
    fn new(line: &'a Line, turn: Turn) -> Self {
        let mut waiting = Self { take: Box::pin(line.take(turn)), bell: Arc::default() };
        assert_eq!(waiting.poll(), None);
        waiting
    }

    /// How many parts it gets now.
    fn poll(&mut self) -> Option<usize> {
        let waker = Waker::from(Arc::clone(&self.bell));
        match self.take.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(taken) => Some(taken.len()),
            Poll::Pending => None,
        }
    }

    fn is_woken(&self) -> bool {
        self.bell.0.load(Ordering::Relaxed) > 0
    }
}

#[test]
fn the_next_turn_is_of_the_idle_then_of_the_busy_and_last_of_the_doubted() {
    let line = Line::default();
    let mut waiting = [DOUBTED, BUSY, IDLE, IDLE].map(|turn| Waiting::new(&line, turn));
    let mut posted = Vec::new();
    for next in [2, 3, 1, 0] {
        let (request, chunks) = request(1);
        posted.push(request);
        line.join(chunks).unwrap();
        let woken: Vec<usize> = (0..4).filter(|at| waiting[*at].is_woken()).collect();
        assert_eq!(woken, [next]);
        assert_eq!(waiting[next].poll(), Some(1));
        waiting[next].bell = Arc::default();
    }
}

#[test]
fn who_was_woken_and_takes_nothing_leaves_its_turn_to_another() {
    let line = Line::default();
    let (first, mut second) = (Waiting::new(&line, IDLE), Waiting::new(&line, BUSY));
    let (_posted, chunks) = request(1);
    line.join(chunks).unwrap();
    assert!(first.is_woken() && !second.is_woken());
    drop(first);
    assert!(second.is_woken());
    assert_eq!(second.poll(), Some(1));
}

#[test]
fn a_request_goes_one_way_and_the_next_one_another() {
    let line = Line::default();
    let (mut first, mut second) = (Waiting::new(&line, IDLE), Waiting::new(&line, IDLE));
    let ((_one, mut chunks), (_two, more)) = (request(5), request(2));
    chunks.extend(more);
    line.join(chunks).unwrap();
    assert_eq!(first.poll(), Some(5));
    assert!(second.is_woken(), "there is more than one batch");
    assert_eq!(second.poll(), Some(2));
}

#[test]
fn what_comes_back_is_ahead_of_all_others_in_its_order() {
    let line = Line::default();
    let ((_one, mut chunks), (_two, later)) = (request(3), request(1));
    for (at, chunk) in chunks.iter_mut().enumerate() {
        chunk.bytes = at;
    }
    line.join(later).unwrap();
    line.come_back(chunks.into_iter());
    let bytes: Vec<usize> = line.lock().waiting.iter().map(|chunk| chunk.bytes).collect();
    assert_eq!(bytes, [0, 1, 2, 600 << 10]);
}

#[test]
fn a_full_line_refuses_whole_requests_and_forgets_those_that_were_given_up() {
    let line = Line::default();
    let (posted, chunks) = request(ROOM - 1);
    line.join(chunks).unwrap();
    let (_two, chunks) = request(2);
    assert_eq!(line.join(chunks), Err(Reply::QueueFull));
    drop(posted);
    let (_three, chunks) = request(ROOM);
    line.join(chunks).unwrap();
    assert_eq!(line.lock().waiting.len(), ROOM);
}

#[test]
fn a_link_is_overtaken_by_others_only() {
    let line = Line::default();
    let sent = Instant::now();
    let later = sent + Duration::from_millis(1);
    line.answered(0, later);
    line.answered(1, sent);
    assert!(!line.is_overtaken(0, sent));
    line.answered(1, later);
    assert!(line.is_overtaken(0, sent));
    line.forget(1);
    assert!(!line.is_overtaken(0, sent));
}
