//! A resolver that answers as a story wants it to, for one program that runs in a mount namespace of its own.

use crate::harness::ringway::binary;
use crate::harness::story::Story;
use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

/// What every query for an address is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// These addresses.
    Addresses(Vec<Ipv4Addr>),
    /// A response code of RFC 1035 section 4.1.1, such as 2 for a failure of the server.
    Code(u8),
    /// Nothing at all.
    Silence,
}

/// A running server of names; its thread ends with the tests.
pub(crate) struct Names {
    address: Ipv4Addr,
    reply: Arc<Mutex<Reply>>,
}

impl Names {
    /// Serves on an address of its own, because the port of a resolver is fixed (as root only).
    pub(crate) fn serve(reply: Reply) -> Names {
        let mut random = fastrand::Rng::new();
        let address = Ipv4Addr::new(127, 53, random.u8(..), random.u8(1..255));
        let socket = UdpSocket::bind((address, 53));
        let socket = socket.unwrap_or_else(|error| panic!("this test needs port 53 of {address} (as root): {error}"));
        let reply = Arc::new(Mutex::new(reply));
        let replies = Arc::clone(&reply);
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                let reply = replies.lock().unwrap().clone();
                if let Some(answer) = answer(&query[..length], &reply) {
                    socket.send_to(&answer, client).unwrap();
                }
            }
        });
        Names { address, reply }
    }

    /// Answers with this from now on.
    pub(crate) fn set(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// `ringway serve`, for which this is the only resolver there is.
    pub(crate) fn command(&self, story: &Story, config: &Path) -> Command {
        let resolver = format!("nameserver {}\noptions timeout:1 attempts:1\n", self.address);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", MOUNT, "sh"]);
        command.arg(story.write("resolv.conf", &resolver)).arg(story.write("nsswitch.conf", "hosts: dns\n"));
        command.arg(binary()).args(["serve", "-c"]).arg(config);
        command
    }
}

/// Puts the first file in the place of resolv.conf, the second in that of nsswitch.conf, and becomes the rest.
const MOUNT: &str = "mount --bind \"$1\" /etc/resolv.conf && mount --bind \"$2\" /etc/nsswitch.conf && shift 2 && \
                     exec \"$@\"";

/// The answer to a query of one question (RFC 1035 section 4.1), if there is to be one. Addresses are IPv4 only.
fn answer(query: &[u8], reply: &Reply) -> Option<Vec<u8>> {
    let (header, question) = query.split_at(12);
    let name = question.iter().position(|length| *length == 0).unwrap();
    let question = &question[..name + 5];
    let asks_for_ipv4 = question[name + 1..name + 3] == [0, 1];
    let (code, addresses) = match reply {
        Reply::Addresses(addresses) if asks_for_ipv4 => (0, addresses.as_slice()),
        Reply::Addresses(_) => (0, &[][..]),
        Reply::Code(code) => (*code, &[][..]),
        Reply::Silence => return None,
    };
    let count = u8::try_from(addresses.len()).unwrap();
    let mut answer = vec![header[0], header[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    answer.extend(question);
    for address in addresses {
        // The name of the question, an IPv4 address, of the internet, to be kept for no time, four bytes long.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
