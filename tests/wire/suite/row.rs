//! A row of the table: what a client sends, how the node answers, and what is right.

use std::ops::RangeInclusive;

/// One case.
pub(crate) struct Row {
    pub(crate) class: &'static str,
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) is_http2: bool,
    pub(crate) replies: Replies,
    pub(crate) right: Right,
}

/// What the client does.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Waits for the next response, be it an interim one.
    Await,
    /// Ends its side of the connection.
    Finish,
    /// Breaks the connection.
    Reset,
}

/// How the node answers the requests of a row, but for those that the suite adds itself.
#[derive(Clone, Default)]
pub(crate) struct Replies {
    /// The first ones, in order.
    pub(crate) first: Vec<Reply>,
    /// All others; without it they are answered as they should be.
    pub(crate) always: Option<Reply>,
}

/// One answer of the node, byte by byte.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) when: When,
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
    /// What it writes once the client has its response.
    pub(crate) late: Vec<u8>,
}

/// When the node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// When it has the head of the request.
    Head,
    /// When it has the whole request.
    Whole,
}

/// What the node does with the connection once it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Close,
    /// Ends its side of it, and reads on.
    Finish,
    Keep,
    Reset,
    /// Reads nothing more until the client has had its response.
    Stop,
}

/// What is right for a row.
#[derive(Clone)]
pub(crate) struct Right {
    /// The statuses that each request may be answered with, in order; 0 is the end of the connection or, in HTTP/2, of
    /// the stream.
    pub(crate) answers: Vec<&'static [u16]>,
    /// Whether the connection is over after that; `None` where that does not matter.
    pub(crate) ends: Option<bool>,
    /// How many whole requests the node gets.
    pub(crate) whole: RangeInclusive<usize>,
    /// More requests than this at the node, whole or not, are hard.
    pub(crate) most: usize,
    /// Whether so much is unread behind the answer that the proxy may close in the middle of it, which the system makes
    /// a reset of.
    pub(crate) may_reset: bool,
    /// The body of the request must never look complete to the node, or that of the response to the client.
    pub(crate) is_cut: bool,
    /// What lines of the head the node gets begin with, names in lower case.
    pub(crate) node_has: &'static [&'static str],
    pub(crate) node_lacks: &'static [&'static str],
    /// What must not reach the node on any account.
    pub(crate) node_never: &'static [&'static str],
    pub(crate) node_body: Option<&'static [u8]>,
    pub(crate) client_lacks: &'static [&'static str],
    pub(crate) client_never: &'static [&'static str],
    pub(crate) client_body: Option<&'static [u8]>,
}

impl Row {
    /// A client that sends these bytes, in the notation of [`bytes`], and should be served as if nothing were.
    pub(crate) fn new(class: &'static str, name: impl Into<String>, sent: impl AsRef<[u8]>) -> Row {
        Row::of_steps(class, name, vec![Step::Send(bytes(sent))])
    }

    /// The same for a POST, of which `rest` is what follows its Host.
    pub(crate) fn post(class: &'static str, name: impl Into<String>, rest: impl AsRef<[u8]>) -> Row {
        Row::new(class, name, [b"POST / HTTP/1.1^Host: a^", rest.as_ref()].concat())
    }

    /// The same for a GET, with these further fields.
    pub(crate) fn get(class: &'static str, name: impl Into<String>, fields: impl AsRef<[u8]>) -> Row {
        Row::new(class, name, [b"GET / HTTP/1.1^Host: a^", fields.as_ref(), b"^"].concat())
    }

    pub(crate) fn of_steps(class: &'static str, name: impl Into<String>, steps: Vec<Step>) -> Row {
        let right = Right {
            answers: vec![&[200]],
            ends: Some(false),
            whole: 1..=1,
            most: 1,
            may_reset: false,
            is_cut: false,
            node_has: &[],
            node_lacks: &[],
            node_never: &[],
            node_body: None,
            client_lacks: &[],
            client_never: &[],
            client_body: None,
        };
        let replies = Replies::default();
        Row { class, name: name.into(), steps, is_http2: false, replies, right }
    }

    /// Then it does this.
    pub(crate) fn then(mut self, step: Step) -> Row {
        self.steps.push(step);
        self
    }

    /// The node answers the requests of the row in this way.
    pub(crate) fn replies(mut self, replies: Replies) -> Row {
        self.replies = replies;
        self
    }

    /// Right is one of these statuses, and the end of the connection, and nothing whole at the node.
    pub(crate) fn refused(mut self, statuses: &'static [u16]) -> Row {
        (self.right.answers, self.right.ends, self.right.whole) = (vec![statuses], Some(true), 0..=0);
        self
    }

    /// Right is one of these statuses, whatever the node got of it.
    pub(crate) fn answered(mut self, statuses: &'static [u16]) -> Row {
        (self.right.answers, self.right.ends, self.right.whole) = (vec![statuses], None, 0..=1);
        self
    }

    /// Right are these responses to its requests, which are all meant to be some.
    pub(crate) fn answers(mut self, answers: &[&'static [u16]], whole: RangeInclusive<usize>) -> Row {
        (self.right.answers, self.right.ends) = (answers.to_vec(), None);
        (self.right.most, self.right.whole) = (answers.len(), whole);
        self
    }

    pub(crate) fn ends(mut self) -> Row {
        self.right.ends = Some(true);
        self
    }

    pub(crate) fn goes_on(mut self) -> Row {
        self.right.ends = Some(false);
        self
    }

    pub(crate) fn may_end(mut self) -> Row {
        self.right.ends = None;
        self
    }

    /// It sends more than a proxy has to read before it closes.
    pub(crate) fn too_much(mut self) -> Row {
        self.right.may_reset = true;
        self
    }

    /// So many requests at the node are still those of the client.
    pub(crate) fn most(mut self, most: usize) -> Row {
        self.right.most = most;
        self
    }

    pub(crate) fn cut(mut self) -> Row {
        self.right.is_cut = true;
        self
    }

    pub(crate) fn node_has(mut self, lines: &'static [&'static str]) -> Row {
        self.right.node_has = lines;
        self
    }

    pub(crate) fn node_lacks(mut self, lines: &'static [&'static str]) -> Row {
        self.right.node_lacks = lines;
        self
    }

    pub(crate) fn node_never(mut self, lines: &'static [&'static str]) -> Row {
        self.right.node_never = lines;
        self
    }

    pub(crate) fn node_body(mut self, body: &'static [u8]) -> Row {
        self.right.node_body = Some(body);
        self
    }

    pub(crate) fn client_lacks(mut self, lines: &'static [&'static str]) -> Row {
        self.right.client_lacks = lines;
        self
    }

    pub(crate) fn client_never(mut self, lines: &'static [&'static str]) -> Row {
        self.right.client_never = lines;
        self
    }

    pub(crate) fn client_body(mut self, body: &'static [u8]) -> Row {
        self.right.client_body = Some(body);
        self
    }

    pub(crate) fn http2(mut self) -> Row {
        self.is_http2 = true;
        self
    }

    /// Whether the first request is a HEAD, whose response has no body.
    pub(crate) fn is_head(&self) -> bool {
        matches!(self.steps.first(), Some(Step::Send(bytes)) if bytes.starts_with(b"HEAD "))
    }
}

impl Reply {
    /// These bytes, in the notation of [`bytes`], to a whole request.
    pub(crate) fn of(answer: impl AsRef<[u8]>) -> Reply {
        Reply { when: When::Whole, bytes: bytes(answer), then: Then::Keep, late: Vec::new() }
    }

    pub(crate) fn early(mut self) -> Reply {
        self.when = When::Head;
        self
    }

    pub(crate) fn then(mut self, then: Then) -> Reply {
        self.then = then;
        self
    }

    pub(crate) fn late(mut self, late: &[u8]) -> Reply {
        self.late = bytes(late);
        self
    }

    /// To every request of the row.
    pub(crate) fn always(self) -> Replies {
        Replies { first: Vec::new(), always: Some(self) }
    }

    /// To the first request of the row only.
    pub(crate) fn once(self) -> Replies {
        Replies { first: vec![self], always: None }
    }
}

/// The bytes of a text in which `^` stands for CRLF.
pub(crate) fn bytes(text: impl AsRef<[u8]>) -> Vec<u8> {
    let pieces: Vec<&[u8]> = text.as_ref().split(|byte| *byte == b'^').collect();
    pieces.join(&b"\r\n"[..])
}
