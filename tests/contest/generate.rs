//! Sends requests over many kept connections from one thread, in an open loop: each is due at a fixed
//! time whether or not the server keeps up, and its latency counts from then. Without a rate it is as
//! fast as the server answers. Nothing is done here that could be done before or after.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rustix::{
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use segment_source_tests::wire::{Message, status};

use crate::event::{Events, Slot, UNANSWERED};

/// Kept connections.
const CONNECTIONS: usize = 128;
/// What is due for so long and could not be sent is not sent any more: the rate is lost anyway.
const HOPELESS: Duration = Duration::from_secs(2);
/// How long an answer is waited for after the last request.
const PATIENCE: Duration = Duration::from_secs(8);
/// Requests that are due meanwhile are sent together.
const TOGETHER: Duration = Duration::from_micros(50);
const TIMER: u64 = u64::MAX;

/// What came of a load; of each request, its slot says it.
pub(crate) struct Sent {
    /// Microseconds from when a request was due until its answer was read.
    pub(crate) latency: Histogram<u64>,
    /// From the first request to the last.
    pub(crate) took: Duration,
    /// How many were sent.
    pub(crate) count: usize,
    /// Connections that broke under a request, and requests without an answer.
    pub(crate) broken: u64,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    /// The request under way, and when it was due.
    asked: Option<(usize, Instant)>,
}

struct Generator {
    address: SocketAddr,
    epoll: OwnedFd,
    timer: OwnedFd,
    connections: Vec<Connection>,
    free: VecDeque<usize>,
    sent: Sent,
}

/// Sends all of them at so many a second, or, without a rate, as many as are answered in time.
pub(crate) fn run(
    address: SocketAddr,
    events: &mut Events,
    slots: &mut [Slot],
    rate: Option<f64>,
    limit: Duration,
) -> anyhow::Result<Sent> {
    let mut generator = Generator::new(address)?;
    let begin = Instant::now();
    let due =
        |n: usize| rate.map_or(begin, |rate| begin + Duration::from_secs_f64(n as f64 / rate));
    let (mut next, mut end) = (0, slots.len());
    let mut last = begin;
    loop {
        let now = Instant::now();
        while next < end && due(next) <= now {
            let Some(free) = generator.free.pop_front() else { break };
            let at = if rate.is_some() { due(next) } else { now };
            generator.send(free, events, &mut slots[next], (next, at));
            next += 1;
            last = now;
        }
        let under_way = generator.connections.len() - generator.free.len();
        let late = rate.is_some() && next < end && now > due(next) + HOPELESS;
        if late || rate.is_none() && now > begin + limit {
            end = next;
        }
        if next == end && (under_way == 0 || now > last + PATIENCE) {
            break;
        }
        let wait = if next < end && !generator.free.is_empty() {
            due(next).saturating_duration_since(now).max(TOGETHER)
        } else {
            Duration::from_millis(20)
        };
        generator.wait(wait, slots)?;
    }
    generator.give_up();
    let mut sent = generator.sent;
    (sent.took, sent.count) = (last - begin, end);
    Ok(sent)
}

impl Generator {
    fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        let mut connections = Vec::new();
        for index in 0..CONNECTIONS {
            connections.push(connect(address, &epoll, index)?);
        }
        let latency = Histogram::new_with_bounds(1, 600_000_000, 3)?;
        let sent = Sent { latency, took: Duration::ZERO, count: 0, broken: 0 };
        let free = (0..CONNECTIONS).collect();
        Ok(Self { address, epoll, timer, connections, free, sent })
    }

    fn send(
        &mut self,
        index: usize,
        events: &mut Events,
        slot: &mut Slot,
        asked: (usize, Instant),
    ) {
        slot.status = UNANSWERED;
        let connection = &mut self.connections[index];
        let request = events.request(slot);
        connection.asked = Some(asked);
        // The socket's buffer is empty and takes all of it; whatever else happens breaks it.
        if !matches!(connection.stream.write(request), Ok(written) if written == request.len()) {
            self.replace(index);
        }
    }

    /// Waits until something happens, and reads what came.
    fn wait(&mut self, at_most: Duration, slots: &mut [Slot]) -> anyhow::Result<()> {
        // Timeouts of epoll itself are in milliseconds.
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = Timespec::try_from(at_most)?;
        let once = Itimerspec { it_interval: zero, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        let mut found = Vec::with_capacity(CONNECTIONS + 1);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut found), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in found {
            let index = event.data.u64();
            if index != TIMER {
                self.read(usize::try_from(index)?, slots);
            }
        }
        Ok(())
    }

    fn read(&mut self, index: usize, slots: &mut [Slot]) {
        let connection = &mut self.connections[index];
        if connection.filled == connection.buffer.len() {
            connection.buffer.resize(2 * connection.filled, 0);
        }
        match connection.stream.read(&mut connection.buffer[connection.filled..]) {
            Ok(0) => return self.replace(index),
            Ok(read) => connection.filled += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return self.replace(index),
        }
        let bytes = &connection.buffer[..connection.filled];
        let (Ok(reply), Some((slot, due))) = (Message::whole(bytes), connection.asked) else {
            return self.replace(index);
        };
        let Some(reply) = reply else { return };
        slots[slot].status = status(bytes).unwrap_or(u16::MAX);
        let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.sent.latency.saturating_record(micros);
        (connection.asked, connection.filled) = (None, 0);
        if reply.closes {
            self.replace(index);
        } else {
            self.free.push_back(index);
        }
    }

    /// Takes a new connection instead of one that is of no more use.
    fn replace(&mut self, index: usize) {
        let was_free = self.free.contains(&index);
        if let Some((_, due)) = self.connections[index].asked.take() {
            self.lost(due);
        }
        // What is left of the old one in epoll goes with its last descriptor.
        if let Ok(new) = connect(self.address, &self.epoll, index) {
            self.connections[index] = new;
            if !was_free {
                self.free.push_back(index);
            }
        } else {
            self.free.retain(|free| *free != index);
            self.connections[index].asked = None;
            _ = epoll::delete(&self.epoll, &self.connections[index].stream);
        }
    }

    fn lost(&mut self, due: Instant) {
        self.sent.broken += 1;
        let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.sent.latency.saturating_record(micros.max(1_000_000));
    }

    fn give_up(&mut self) {
        let waiting: Vec<_> =
            self.connections.iter_mut().filter_map(|it| it.asked.take()).collect();
        waiting.into_iter().for_each(|(_, due)| self.lost(due));
    }
}

fn connect(address: SocketAddr, epoll: &OwnedFd, index: usize) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    epoll::add(epoll, &stream, EventData::new_u64(u64::try_from(index)?), EventFlags::IN)?;
    Ok(Connection { stream, buffer: vec![0; 4096], filled: 0, asked: None })
}
