//! A client's connection: which protocol it speaks, whether it dawdles, and how it is told to leave.

mod stream;

pub(crate) use crate::proxy::client::stream::ClientStream;

use crate::metrics::limit::Limit;
use crate::proxy::awaited::AwaitedBody;
use crate::proxy::limits::Limits;
use crate::proxy::pace::Pace;
use crate::proxy::sent_ahead::SentAhead;
use crate::proxy::sent_ahead::Windows;
use crate::proxy::streams::Resets;
use crate::proxy::streams::Turn;
use crate::proxy::worker::Phase;
use crate::proxy::worker::Worker;
use std::cell::Cell;
use std::cell::OnceCell;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// What is known of one client connection; only its own worker touches it.
#[derive(Debug)]
pub(crate) struct ClientState {
    /// Whether it is clear which protocol the client speaks. Before, it may be about to send its first request.
    is_known: Cell<bool>,
    is_http2: Cell<bool>,
    /// Whether nobody else can read what is sent.
    is_encrypted: Cell<bool>,
    /// Requests being answered.
    busy: Cell<usize>,
    /// Requests whose heads were complete so far.
    begun: Cell<u64>,
    /// Whether the connection ends with the response of the moment.
    is_last: Cell<bool>,
    /// Whether the client may still send a body that nobody reads any more.
    has_unread: Cell<bool>,
    /// Whether bytes of an unfinished head have come.
    has_begun: Cell<bool>,
    /// When that was noticed.
    head_since: Cell<Option<Instant>>,
    /// When the last request ended, or the client connected.
    idle_since: Cell<Instant>,
    /// Since when the client takes none of what is written to it.
    stalled_since: Cell<Option<Instant>>,
    /// Bytes of responses that are held until the client takes them.
    pub(crate) untaken: Cell<usize>,
    /// What is held of its bodies until nodes take it, if it has sent any.
    sent_ahead: OnceCell<Arc<SentAhead>>,
    /// The limit that struck in its bytes before hyper had them.
    pub(crate) struck: Cell<Option<Limit>>,
    /// How it goes about the body of the next request, of which some was gathered, until that request has ended. Over
    /// HTTP/1 only.
    pace: RefCell<Option<Pace>>,
    /// Counts the body of the next request, of which the beginning is awaited, until that request has ended at most.
    /// Over HTTP/1 only.
    awaited: RefCell<Option<AwaitedBody>>,
    /// Whether nothing is read until the request of the moment is answered.
    is_reading_held: Cell<bool>,
    /// Whether what follows the head of the response does not come by way of hyper, over HTTP/1.
    relay: Cell<Relaying>,
    /// Whose turn it is in the stream that is polled, once that is known.
    pub(crate) turn: Cell<Option<Turn>>,
    pub(crate) resets: Resets,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

/// How long after it connected, or its last response, a client may begin a request although the process leaves.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A client that said nothing for this long is likely to say nothing for longer.
const REST_AFTER: Duration = Duration::from_secs(1);

/// How far hyper is in giving a connection up in the middle of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relaying {
    No,
    /// It has yet to write the head.
    Due,
    Begun,
}

/// What the worker asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Go on.
    Serve,
    /// Keep no memory while there is nothing to do.
    Rest,
    /// Finish what is open, then close.
    Finish,
    /// Close at once.
    Abort,
}

impl ClientState {
    /// A connection accepted now.
    pub(crate) fn new() -> Rc<ClientState> {
        Rc::new(ClientState {
            is_known: Cell::new(false),
            is_http2: Cell::new(false),
            is_encrypted: Cell::new(false),
            busy: Cell::new(0),
            begun: Cell::new(0),
            is_last: Cell::new(false),
            has_unread: Cell::new(false),
            has_begun: Cell::new(false),
            head_since: Cell::new(None),
            idle_since: Cell::new(Instant::now()),
            stalled_since: Cell::new(None),
            untaken: Cell::new(0),
            sent_ahead: OnceCell::new(),
            struck: Cell::new(None),
            pace: RefCell::new(None),
            awaited: RefCell::new(None),
            is_reading_held: Cell::new(false),
            relay: Cell::new(Relaying::No),
            turn: Cell::new(None),
            resets: Resets::default(),
            order: Cell::new(Order::Serve),
            waker: RefCell::new(None),
        })
    }

    /// The handshake of TLS is over.
    pub(crate) fn encrypted(&self) {
        self.is_encrypted.set(true);
    }

    /// Whether the client speaks TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.is_encrypted.get()
    }

    /// A request head is complete.
    pub(crate) fn request_began(&self) {
        self.busy.set(self.busy.get() + 1);
        self.begun.set(self.begun.get() + 1);
        // In HTTP/2 the next one may have begun by now.
        if !self.is_http2.get() {
            self.has_begun.set(false);
            self.head_since.set(None);
        }
    }

    /// A request head is complete, and its body gathered before it begins; the connection does not outlive that
    /// unless it is told the end of it.
    fn gathering_began(&self) {
        self.busy.set(self.busy.get() + 1);
        self.has_begun.set(false);
        self.head_since.set(None);
    }

    /// It is gathered, or as much of it as will be.
    fn gathering_ended(&self, pace: Pace) {
        self.busy.set(self.busy.get() - 1);
        self.pace.replace(Some(pace));
    }

    /// How the client went about the body of the request that begins, if some of that was gathered.
    pub(crate) fn take_pace(&self) -> Option<Pace> {
        self.pace.take()
    }

    /// The body of the request that begins next is awaited, which counts from now on: by the time its node asks for
    /// it, very many others may have begun.
    pub(crate) fn await_body(&self, awaited: AwaitedBody) {
        self.awaited.replace(Some(awaited));
    }

    /// What counts the body of the request that begins, if that is awaited.
    pub(crate) fn take_awaited(&self) -> Option<AwaitedBody> {
        self.awaited.take()
    }

    /// Whether no request came before that of the moment.
    pub(crate) fn is_first(&self) -> bool {
        self.begun.get() == 1
    }

    /// Told for every request whether it is the last one on its connection, see `Inbound::is_last`.
    pub(crate) fn expect_end(&self, is_last: bool) {
        self.is_last.set(is_last);
    }

    /// Told for every request with a body whether that may be cut short.
    pub(crate) fn leaves_unread(&self, may_come: bool) {
        self.has_unread.set(may_come);
    }

    /// Whether the client may still send a body that nobody reads any more.
    pub(crate) fn has_unread(&self) -> bool {
        self.has_unread.get()
    }

    /// Whether the connection ends with the response of the moment.
    pub(crate) fn is_last(&self) -> bool {
        self.is_last.get()
    }

    /// Once hyper has written the head of the response, it is done with it.
    pub(crate) fn expect_relay(&self) {
        self.relay.set(Relaying::Due);
    }

    /// The head of a response that is relayed says that the connection ends with it.
    pub(crate) fn relay_is_last(&self) {
        if self.is_relay_due() {
            self.is_last.set(true);
        }
    }

    /// Whether hyper has yet to write the head of a response that is relayed.
    fn is_relay_due(&self) -> bool {
        self.relay.get() == Relaying::Due
    }

    /// All that hyper had to write was written.
    fn flushed(&self) {
        if self.is_relay_due() {
            self.relay.set(Relaying::Begun);
        }
    }

    /// Whether hyper is to give the connection up.
    pub(crate) fn is_relaying(&self) -> bool {
        self.relay.get() == Relaying::Begun
    }

    /// hyper has given it up, and whoever has it next is not to.
    pub(crate) fn relayed(&self) {
        self.relay.set(Relaying::No);
    }

    /// Whether nothing comes after what is written now.
    fn writes_last(&self) -> bool {
        self.is_last.get() && self.busy.get() == 0
    }

    /// A request and its response are over.
    pub(crate) fn request_ended(&self, now: Instant) {
        self.busy.set(self.busy.get() - 1);
        self.pace.take();
        self.awaited.take();
        self.idle_since.set(now);
        if self.busy.get() == 0 && self.is_reading_held.take() {
            self.wake();
        }
    }

    /// Whether the client speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2.get()
    }

    /// Bytes came: unless a request is open, they begin a head.
    fn bytes_came(&self) {
        if self.busy.get() == 0 && !self.is_http2.get() {
            self.has_begun.set(true);
        }
    }

    /// Frames of HTTP/2 came: a head is under way now or not, and the one that was so before has ended or not.
    fn frames_came(&self, has_ended: bool, is_within_head: bool) {
        self.has_begun.set(is_within_head);
        if has_ended || !is_within_head {
            self.head_since.set(None);
        }
    }

    /// All bytes that came were looked at: a head that is still unfinished has until `head-timeout` from now.
    pub(crate) fn bytes_seen(&self) {
        if self.has_begun.get() && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    /// Something was written, or could not be because the client reads nothing.
    fn wrote<T>(&self, polled: &Poll<T>) {
        if self.stalled_since.get().is_some() != polled.is_pending() {
            self.stalled_since.set(polled.is_pending().then(Instant::now));
        }
    }

    /// Whether the client has taken nothing of what is written to it for longer than so.
    pub(crate) fn is_stalled_for(&self, patience: Duration) -> bool {
        self.stalled_since.get().is_some_and(|since| since.elapsed() > patience)
    }

    /// What is held of its bodies until nodes take it, from now on at the latest.
    pub(crate) fn sent_ahead(&self, worker: &Worker) -> &Arc<SentAhead> {
        self.sent_ahead.get_or_init(|| {
            let table = worker.table();
            let limits = &table.table.server.limits;
            let windows = Windows { stream: limits.stream_window, connection: limits.connection_window };
            SentAhead::new(worker.all_stats(), worker.id(), windows)
        })
    }

    /// How much is held until the client takes it, or nodes what it has sent.
    pub(crate) fn held(&self) -> usize {
        self.untaken.get() + self.sent_ahead.get().map_or(0, |sent| sent.size())
    }

    /// Whether nodes take next to nothing of what the client has sent, since this was last asked.
    pub(crate) fn is_stuck(&self) -> bool {
        self.sent_ahead.get().is_some_and(|sent| sent.is_stuck())
    }

    /// Corrects what is held of its bodies, while nothing is made of what came.
    pub(crate) fn settle(&self) {
        if let Some(sent) = self.sent_ahead.get() {
            sent.settle();
        }
    }

    /// Whether the client has had all that was for it and asks for nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.get() == 0 && !self.has_begun.get() && self.stalled_since.get().is_none()
    }

    /// What a connection should be told that has overstayed, and for which limit if that is no mere idleness. A head
    /// that took longer than `head-timeout` must go at once, and so must a client that takes nothing of its response
    /// for longer than `write-timeout`; one that was idle for so long may say goodbye, and so may one that is still
    /// silent when the process closes. What a client of HTTP/2 has not taken by `write-timeout` after that, it never
    /// will.
    pub(crate) fn overstayed(&self, limits: &Limits, phase: Phase) -> Option<(Order, Option<Limit>)> {
        if self.is_stalled_for(limits.write_timeout) {
            return Some((Order::Abort, Some(Limit::WriteTimeout)));
        }
        let head_since = self.head_since.get();
        // Nothing is read from a client that takes nothing.
        if head_since.is_some_and(|since| since.elapsed() > limits.head_timeout) && self.stalled_since.get().is_none() {
            return Some((Order::Abort, Some(Limit::HeadTimeout)));
        }
        if self.busy.get() > 0 || head_since.is_some() {
            return None;
        }
        let idle = self.idle_since.get().elapsed();
        let is_leaving = phase >= Phase::HandedOver;
        let patience = if is_leaving { LAST_WORDS.min(limits.idle_timeout) } else { limits.idle_timeout };
        if self.is_http2.get() && idle > patience.saturating_add(limits.write_timeout) {
            return Some((Order::Abort, Some(Limit::WriteTimeout)));
        }
        if idle > patience {
            return Some((Order::Finish, None));
        }
        (idle > REST_AFTER && self.is_known.get() && !self.is_http2.get()).then_some((Order::Rest, None))
    }

    /// Tells the connection what to do; until it has rested, orders only get stricter. Returns whether this one does.
    pub(crate) fn order(&self, order: Order) -> bool {
        let is_news = self.order.get() < order;
        if is_news {
            self.order.set(order);
            self.wake();
        }
        is_news
    }

    /// Whether it was told to go.
    pub(crate) fn is_leaving(&self) -> bool {
        self.order.get() >= Order::Finish
    }

    /// The connection is needed again.
    pub(crate) fn rested(&self) {
        if self.order.get() == Order::Rest {
            self.order.set(Order::Serve);
        }
    }

    /// What the connection should do in this phase of the process's life: HTTP/2 is told to go as soon as draining
    /// begins, because GOAWAY loses nothing; HTTP/1 is closed response by response first, for as long as the process
    /// can afford, and a client whose protocol is not clear yet is let speak.
    pub(crate) fn order_in(&self, phase: Phase) -> Order {
        let leaving = match phase {
            Phase::Starting | Phase::Running | Phase::Ended => false,
            Phase::Draining | Phase::HandedOver => self.is_http2.get(),
            Phase::Closing => true,
        };
        let ordered = self.order.get();
        if leaving && self.is_known.get() { ordered.max(Order::Finish) } else { ordered }
    }

    /// Remembers the task to wake when an order is given; always ready.
    pub(crate) fn remember(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Ready(())
    }

    /// Wakes the connection so that it looks at its orders and at the phase.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// Tells so many of `clients` to leave, those that have been idle for longest, and not for less than `least`. Returns
/// how many there were.
pub(crate) fn close_longest_idle<'a>(
    clients: impl Iterator<Item = &'a ClientState>,
    least: Duration,
    most: usize,
) -> usize {
    let (now, since) = (Instant::now(), |client: &&ClientState| client.idle_since.get());
    let idle = clients.filter(|client| client.is_idle() && !client.is_leaving());
    let mut idle: Vec<&ClientState> =
        idle.filter(|client| now.saturating_duration_since(since(client)) >= least).collect();
    if idle.len() > most {
        idle.select_nth_unstable_by_key(most, since);
    }
    idle.iter().take(most).filter(|client| client.order(Order::Finish)).count()
}

/// Tells so many of `clients` to leave, of those of HTTP/2, which finish what they have under way.
pub(crate) fn finish_http2<'a>(clients: impl Iterator<Item = &'a ClientState>, most: usize) {
    let stay = clients.filter(|client| client.is_http2.get() && !client.is_leaving());
    stay.take(most).for_each(|client| _ = client.order(Order::Finish));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clients that have been idle for two seconds and for three, one that asks, and one that asks by HTTP/2.
    async fn clients() -> [Rc<ClientState>; 4] {
        let clients = [0, 0, 1, 1].map(|busy| {
            let client = ClientState::new();
            client.busy.set(busy);
            client
        });
        clients[3].is_http2.set(true);
        tokio::time::advance(Duration::from_secs(1)).await;
        clients[0].idle_since.set(Instant::now());
        tokio::time::advance(Duration::from_secs(2)).await;
        clients
    }

    fn orders(clients: &[Rc<ClientState>; 4]) -> [Order; 4] {
        clients.each_ref().map(|client| client.order.get())
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_have_been_idle_for_longest_leave_first() {
        let clients = clients().await;
        let close = |seconds, most| {
            close_longest_idle(clients.iter().map(|client| &**client), Duration::from_secs(seconds), most)
        };
        assert_eq!(close(1, 1), 1);
        assert_eq!(orders(&clients), [Order::Serve, Order::Finish, Order::Serve, Order::Serve]);
        assert_eq!((close(3, 3), close(2, 3)), (0, 1), "the other one");
        assert_eq!(orders(&clients), [Order::Finish, Order::Finish, Order::Serve, Order::Serve]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_those_that_ask_it_is_http_2_that_can_be_told_to_go() {
        let clients = clients().await;
        finish_http2(clients.iter().map(|client| &**client), 2);
        assert_eq!(orders(&clients), [Order::Serve, Order::Serve, Order::Serve, Order::Finish]);
    }
}
