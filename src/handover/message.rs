//! What two processes say to each other when one takes over from the other, and the bytes of it. Pure.
//!
//! The new process speaks first. Every message is one line of JSON, so that a person can read along:
//!
//! | From | Message | Meaning |
//! |---|---|---|
//! | new | `hello` | which version it speaks |
//! | old | `offer` | nothing is written from here on; the sockets come with it |
//! | new | `ready` | the store is locked and replayed, everything that can fail has been done |
//! | old | `go` | it accepts no more: the new process may |
//! | old | `refused` | in the place of any of its messages: it goes on, and why |
//!
//! A connection that breaks before `go` means that the old process goes on.

use crate::cluster::log;
use crate::cluster::log::History;
use crate::sockets::Label;
use serde::Deserialize;
use serde::Serialize;

/// The version of the messages. Another number for every change that an earlier version would misunderstand.
pub const VERSION: u32 = 1;

/// The version of [`Health::marks`].
pub const HEALTH_VERSION: u32 = 1;

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// The beginning. Every version has to be able to read this one.
    Hello {
        /// The version that the sender speaks.
        version: u32,
        /// The release of the sender, for people.
        release: String,
    },
    /// What is handed over.
    Offer(Offer),
    /// The receiver of an offer could serve now.
    Ready {},
    /// It may.
    Go {},
    /// There is nothing to be handed over.
    Refused {
        /// A sentence for people.
        why: String,
    },
}

/// What the old process hands over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Offer {
    /// The listening sockets, in the order of the file descriptors that come with the message.
    pub sockets: Vec<Label>,
    /// The records of all histories that nothing but the old process holds, as a log has them.
    pub records: Vec<String>,
    /// What is known of the nodes' health.
    #[serde(default)]
    pub health: Health,
}

/// What the old process knows of the nodes' health. It is a hint: the new process does without what it cannot read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Health {
    /// Which [`HEALTH_VERSION`] the marks are of.
    pub version: u32,
    /// The marks.
    pub marks: Vec<serde_json::Value>,
}

impl Health {
    /// Marks of the version of this program.
    pub fn of(marks: Vec<serde_json::Value>) -> Health {
        Health { version: HEALTH_VERSION, marks }
    }

    /// The marks, if this program can read their version, else none.
    pub fn readable(self) -> Vec<serde_json::Value> {
        if self.version == HEALTH_VERSION { self.marks } else { Vec::new() }
    }
}

impl Offer {
    /// Writes histories as records.
    pub fn with_histories(mut self, histories: &[History]) -> Offer {
        let records = histories.iter().flat_map(History::records);
        self.records = records.map(|record| log::encode(&record)).collect();
        self
    }

    /// Reads the histories.
    ///
    /// # Errors
    /// When a record is damaged, or cannot stand where it does.
    pub fn histories(&self) -> Result<Vec<History>, String> {
        let mut histories = Vec::new();
        for (index, line) in self.records.iter().enumerate() {
            let collected = log::decode(line.as_bytes()).and_then(|record| log::collect(&mut histories, record));
            collected.map_err(|why| format!("record {} of the histories: {why}", index + 1))?;
        }
        Ok(histories)
    }
}

/// The bytes of a message, with the newline that ends it.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages hold strings, numbers and lists only");
    line.push(b'\n');
    line
}

/// The message of a line, given without its newline. The error is a text for people.
pub fn decode(line: &[u8]) -> Result<Message, String> {
    serde_json::from_slice(line).map_err(|error| format!("a message that cannot be read: {error}"))
}

/// Whether a process of this version can go on with one that speaks `theirs`; the error says what to do instead.
pub fn check_version(theirs: u32, release: &str) -> Result<(), String> {
    if theirs == VERSION {
        return Ok(());
    }
    Err(format!(
        "the running process speaks version {VERSION} of the take-over and ringway {release} version {theirs}; stop \
         the one and start the other as usual"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::log::Action;
    use crate::cluster::log::Event;
    use crate::sockets::Role;

    fn history() -> History {
        let event = |epoch, changes: &str| Event {
            pool: "rooms".to_owned(),
            epoch,
            at_ms: epoch,
            actor: "test".to_owned(),
            reason: None,
            action: Action::Changes(serde_json::from_str(changes).unwrap()),
        };
        let founding = r#"[{"placement":{"kind":"ring","vnodes":16}},{"add":{"name":"a","address":"a:80"}}]"#;
        let mut history = History::founded_by(event(1, founding)).unwrap();
        history.push(event(2, r#"[{"weight":{"name":"a","weight":7}}]"#)).unwrap();
        history
    }

    fn offer() -> Offer {
        let label = |role, configured: &str| Label { role, configured: configured.to_owned(), owns_file: false };
        let sockets = vec![label(Role::Http, "127.0.0.1:0"), label(Role::Admin, "unix:/run/ringway/admin.sock")];
        let health = Health::of(vec![serde_json::json!({"pool": "rooms", "node": "a"})]);
        Offer { sockets, records: Vec::new(), health }.with_histories(&[history()])
    }

    #[test]
    fn every_message_is_one_line_that_reads_back() {
        for message in [
            Message::Hello { version: 7, release: "0.1.0".to_owned() },
            Message::Offer(offer()),
            Message::Ready {},
            Message::Go {},
            Message::Refused { why: "two\nlines".to_owned() },
        ] {
            let bytes = encode(&message);
            let (newline, line) = bytes.split_last().unwrap();
            assert!(*newline == b'\n' && !line.contains(&b'\n'), "{}", String::from_utf8_lossy(&bytes));
            assert_eq!(decode(line), Ok(message));
        }
    }

    #[test]
    fn the_first_message_can_be_read_whatever_else_its_version_says() {
        let line = br#"{"hello":{"version":99,"release":"9.9.9","wants":["tls"]}}"#;
        let Message::Hello { version, release } = decode(line).unwrap() else { panic!("no hello") };
        let why = check_version(version, &release).unwrap_err();
        assert!(why.contains("version 1") && why.contains("ringway 9.9.9 version 99"), "{why}");
        assert_eq!(check_version(VERSION, "0.1.0"), Ok(()));
    }

    #[test]
    fn the_bytes_of_version_1_are_frozen() {
        let hello = Message::Hello { version: VERSION, release: "0.1.0".to_owned() };
        assert_eq!(encode(&hello), b"{\"hello\":{\"version\":1,\"release\":\"0.1.0\"}}\n");
        assert_eq!(encode(&Message::Ready {}), b"{\"ready\":{}}\n");
        assert_eq!(encode(&Message::Go {}), b"{\"go\":{}}\n");
        let offer = Offer { records: Vec::new(), ..offer() };
        let expected = concat!(
            r#"{"offer":{"sockets":[{"role":"http","configured":"127.0.0.1:0","owns-file":false},"#,
            r#"{"role":"admin","configured":"unix:/run/ringway/admin.sock","owns-file":false}],"records":[],"#,
            r#""health":{"version":1,"marks":[{"node":"a","pool":"rooms"}]}}}"#,
        );
        assert_eq!(String::from_utf8(encode(&Message::Offer(offer))).unwrap().trim_end(), expected);
    }

    #[test]
    fn histories_come_over_whole() {
        let [read] = offer().histories().unwrap().try_into().unwrap();
        let sent = history();
        assert_eq!((read.epoch(), read.membership()), (sent.epoch(), sent.membership()));
        assert_eq!(read.at(1), sent.at(1), "the past too");
        let mut damaged = offer();
        damaged.records[2] = damaged.records[2].replace('7', "8");
        let why = damaged.histories().unwrap_err();
        assert!(why.starts_with("record 3 of the histories"), "{why}");
    }

    #[test]
    fn marks_of_another_version_are_done_without() {
        let marks = vec![serde_json::Value::Null];
        assert_eq!(Health::of(marks.clone()).readable(), marks);
        assert!(Health { version: HEALTH_VERSION + 1, marks }.readable().is_empty());
    }
}
