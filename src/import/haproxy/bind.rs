//! `bind`: where clients connect.

use crate::import::Unreadable;
use crate::import::haproxy::parameters;
use crate::import::haproxy::parameters::BIND;
use crate::import::haproxy::parameters::Ignored;
use crate::import::haproxy::words::Line;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

/// What `bind` lines say.
#[derive(Debug, Default)]
pub(super) struct Binds {
    /// Where clients connect who speak clear text.
    pub(super) addresses: Vec<SocketAddr>,
    /// All ports, those with TLS too.
    pub(super) ports: Vec<u16>,
    /// What cannot be carried over, with the line of each.
    pub(super) left_out: Vec<(usize, String, String)>,
}

impl Binds {
    /// Reads those among these lines.
    pub(super) fn of(lines: &[Line]) -> Result<Binds, Unreadable> {
        let mut binds = Binds::default();
        for line in lines.iter().filter(|line| line.word(0) == "bind") {
            binds.read(line)?;
        }
        Ok(binds)
    }

    fn read(&mut self, line: &Line) -> Result<(), Unreadable> {
        let is_tls = line.after(2).iter().any(|word| word == "ssl");
        if is_tls {
            self.leave_out(line, line.word(1), TLS);
        }
        for written in line.word(1).split(',') {
            match address(line, written)? {
                Ok((ip, ports)) => {
                    let addresses = ports.clone().map(|port| SocketAddr::new(ip, port));
                    self.addresses.extend(addresses.filter(|_| !is_tls));
                    self.ports.extend(ports);
                }
                Err(why) => self.leave_out(line, written, why),
            }
        }
        let mut words = line.after(2).iter().map(String::as_str);
        while let Some(word) = words.next() {
            if let Some(Ignored { word, why }) = parameters::take(line, word, &mut words, BIND)? {
                self.leave_out(line, &word, why);
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, line: &Line, what: &str, why: &str) {
        self.left_out.push((line.number, what.to_owned(), why.to_owned()));
    }
}

/// An address with its ports, or why Ringway cannot listen there.
fn address(line: &Line, written: &str) -> Result<Result<(IpAddr, RangeInclusive<u16>), &'static str>, Unreadable> {
    let (family, address) = written.split_once('@').unwrap_or(("", written));
    if !matches!(family, "" | "ipv4" | "ipv6") || address.starts_with('/') {
        return Ok(Err("Ringway listens on TCP addresses only"));
    }
    let Some((host, ports)) = address.rsplit_once(':').filter(|(_, ports)| !ports.is_empty()) else {
        return Err(line.unreadable(format!("`{written}` has no port")));
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |written: &str| written.parse().ok().filter(|port: &u16| *port > 0);
    let Some((first, last)) = port(first).zip(port(last)).filter(|(first, last)| first <= last) else {
        return Err(line.unreadable(format!("`{ports}` is neither a port from 1 to 65535 nor a range of them")));
    };
    if last - first >= PORTS_MAX {
        return Ok(Err("these are more ports than Ringway listens on; list those that clients use"));
    }
    let ip = match (family, host.trim_start_matches('[').trim_end_matches(']')) {
        ("ipv6", "" | "*") => Some(Ipv6Addr::UNSPECIFIED.into()),
        (_, "" | "*") => Some(Ipv4Addr::UNSPECIFIED.into()),
        (_, host) => host.parse::<IpAddr>().ok(),
    };
    Ok(ip.map(|ip| (ip, first..=last)).ok_or("Ringway listens on IP addresses only, not on host names"))
}

const TLS: &str = "clients speak TLS there, which Ringway does not: put something before it that does";

/// A whole range is hardly meant.
const PORTS_MAX: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::haproxy::words;

    fn binds(text: &str) -> Result<Binds, Unreadable> {
        Binds::of(&words::read(&format!("bind {text}\n"), &|_| None).unwrap().lines)
    }

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for (text, expected) in [
            (":80", "0.0.0.0:80"),
            ("*:80", "0.0.0.0:80"),
            ("10.0.0.1:80 name web id 3", "10.0.0.1:80"),
            ("ipv6@:80", "[::]:80"),
            (":::80 v4v6", "[::]:80"),
            ("[::1]:80", "[::1]:80"),
            ("10.0.0.1:80,:81", "10.0.0.1:80 0.0.0.0:81"),
            (":80-82", "0.0.0.0:80 0.0.0.0:81 0.0.0.0:82"),
            (":443 ssl crt /etc/x.pem alpn h2", ""),
            ("/run/x.sock mode 600", ""),
            ("localhost:80", ""),
            (":1-65535", ""),
        ] {
            let found: Vec<String> = binds(text).unwrap().addresses.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_carried_over_is_left_out_with_the_reason() {
        for (text, expected) in [
            (":443 ssl crt /etc/x.pem", "TLS"),
            ("unix@/run/x.sock", "TCP addresses only"),
            ("fd@3", "TCP addresses only"),
            ("localhost:80", "not on host names"),
            (":80 accept-proxy", "PROXY protocol"),
            (":80 whatever", "not known"),
        ] {
            let left_out = binds(text).unwrap().left_out;
            assert!(left_out.len() == 1 && left_out[0].2.contains(expected), "{text}: {left_out:?}");
        }
        assert_eq!(binds(":80 accept-proxy").unwrap().addresses.len(), 1);
    }

    #[test]
    fn ports_that_haproxy_refuses_are_refused() {
        for text in ["", "10.0.0.1", "10.0.0.1:", ":0", ":99999", ":http", ":5-3"] {
            assert!(binds(text).is_err(), "{text}");
        }
    }
}
