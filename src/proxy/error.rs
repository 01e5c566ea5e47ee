//! Every way a request can fail in the data plane: its status, its Proxy-Status and whether it may be tried again.

use crate::cluster::networks::Forbidden;
use crate::metrics::limit::Limit;
use crate::proxy::files;
use crate::tls::node::NodeTlsFailure;
use http::StatusCode;
use std::fmt::Write;
use std::io;
use std::io::ErrorKind;

/// Why a request got no response from a node.
///
/// The `Display` text is the `detail` of the problem document the client gets, so it names no address and no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The request itself is not acceptable; the text says what is wrong with it.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The request body broke off or was malformed: the client's fault, never a node's.
    #[error("the request body ended early or was malformed")]
    ClientBody,
    /// The client sent nothing of its body for `limits.body-timeout`, or less than `limits.min-body-rate`.
    #[error("the request body did not arrive in time")]
    ClientBodyTimeout,
    /// CONNECT asks for a tunnel to anywhere, which is not this proxy's job.
    #[error("CONNECT is not supported")]
    ConnectMethod,
    /// No connection to any node that was tried.
    #[error("could not connect to {node}: {cause}")]
    Connect {
        /// The last node tried.
        node: String,
        /// What went wrong there.
        cause: ConnectFailure,
    },
    /// The node did not begin its response within `timeouts.head`.
    #[error("{node} did not answer in time")]
    HeadTimeout {
        /// The node.
        node: String,
    },
    /// More header fields than `limits.max-headers`.
    #[error("the request has too many header fields")]
    HeadersTooMany,
    /// The key may be beyond the first `max-key-body` bytes of the body, and the pool says `key-body-over = "reject"`.
    #[error("the request's key is not in the first {max} bytes of its body")]
    KeyBodyTooLarge {
        /// The pool's `max-key-body`.
        max: usize,
    },
    /// No key in the request and the pool says `no-key = "reject"`.
    #[error("the request has no key: {expected}")]
    KeyMissing {
        /// The pool's key rule.
        expected: String,
    },
    /// The pool has no node in its placement.
    #[error("pool {pool} has no node")]
    NoNode {
        /// The pool.
        pool: String,
    },
    /// The node that owns the key is ill, and the pool does not let its keys go elsewhere (`on-down = "fail"`).
    #[error("{node} is down, and its keys go nowhere else")]
    NodeDown {
        /// The node.
        node: String,
    },
    /// The request has come through this process before.
    #[error("the request has been here before: its nodes lead back to this proxy")]
    Loop,
    /// All nodes are ill, and the pool does not use ill nodes.
    #[error("all nodes of pool {pool} are down")]
    NodesDown {
        /// The pool.
        pool: String,
    },
    /// No pool matches the host and path.
    #[error("no pool matches this host and path")]
    NoPool,
    /// The node closed or reset the connection before a response head.
    #[error("{node} closed the connection before it answered")]
    NodeClosed {
        /// The node.
        node: String,
    },
    /// The node's response head is not HTTP that may be passed on.
    #[error("{node} sent an invalid response")]
    NodeProtocol {
        /// The node.
        node: String,
    },
    /// This proxy has a bug, which the request has met.
    #[error("this proxy failed; its log says where")]
    Panicked,
    /// All usable nodes were at their limits for `queue-timeout`.
    #[error("no node of pool {pool} had room in time")]
    QueueTimeout {
        /// The pool.
        pool: String,
    },
    /// Requests hold nearly `limits.max-request-memory`.
    #[error("this proxy has too much to do")]
    Overloaded,
    /// The request target is longer than `limits.max-target-bytes`.
    #[error("the request target is too long")]
    TargetTooLong,
    /// A transfer coding that this proxy does not know (RFC 9112 section 6.1).
    #[error("the request has a transfer coding other than chunked")]
    TransferCoding,
    /// As many requests as may wait for a node of the pool do (`max-waiting`).
    #[error("too many requests wait for a node of pool {pool}")]
    TooManyWaiting {
        /// The pool.
        pool: String,
    },
    /// All attempts together took longer than `timeouts.total`.
    #[error("no node answered within the total time")]
    TotalTimeout,
}

/// How connecting to a node failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    /// Its certificate is not valid for it.
    #[error("its certificate is not valid for it")]
    Certificate,
    /// This proxy had no file left for a connection within `timeouts.connect`.
    #[error("this proxy has too many files open")]
    Files,
    /// No node may be where it is (`allowed-node-networks`).
    #[error("its address is not allowed")]
    Forbidden,
    /// As many connections as may be open to the node are (`max-connections`).
    #[error("too many connections are open to it")]
    Limit,
    /// This proxy could not even try, such as for want of ports.
    #[error("this proxy could not open a connection")]
    Local,
    /// The host name did not resolve.
    #[error("its name does not resolve")]
    Name,
    /// The node refused.
    #[error("connection refused")]
    Refused,
    /// Nothing came back within `timeouts.connect`.
    #[error("connection timed out")]
    TimedOut,
    /// It does not speak TLS as it should, or refuses this proxy.
    #[error("the TLS handshake failed")]
    Tls,
    /// There is no way to the node's network.
    #[error("its network cannot be reached")]
    Unreachable,
}

impl From<Forbidden> for ConnectFailure {
    fn from(_: Forbidden) -> ConnectFailure {
        Self::Forbidden
    }
}

impl From<NodeTlsFailure> for ConnectFailure {
    fn from(failure: NodeTlsFailure) -> ConnectFailure {
        match failure {
            NodeTlsFailure::Certificate => Self::Certificate,
            NodeTlsFailure::Handshake => Self::Tls,
        }
    }
}

impl From<io::Error> for ConnectFailure {
    fn from(error: io::Error) -> ConnectFailure {
        match error.kind() {
            _ if files::is_shortage(&error) => Self::Files,
            // A unix socket that is not there refuses as much as one that nobody listens on.
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::NotFound => Self::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::Unreachable,
            ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Local,
        }
    }
}

impl ProxyError {
    /// The status the client gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::ClientBody | Self::KeyMissing { .. } => StatusCode::BAD_REQUEST,
            Self::ClientBodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ConnectMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Connect { cause: ConnectFailure::TimedOut, .. } => StatusCode::GATEWAY_TIMEOUT,
            // What this machine is short of, such as files, it may have again in a moment.
            Self::Connect { cause: ConnectFailure::Files | ConnectFailure::Limit | ConnectFailure::Local, .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Connect { .. } | Self::NodeClosed { .. } | Self::NodeProtocol { .. } => StatusCode::BAD_GATEWAY,
            Self::HeadTimeout { .. } | Self::TotalTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::HeadersTooMany => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoNode { .. }
            | Self::NodeDown { .. }
            | Self::NodesDown { .. }
            | Self::Overloaded
            | Self::QueueTimeout { .. }
            | Self::TooManyWaiting { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::KeyBodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            // RFC 5842 section 7.2.
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::NoPool => StatusCode::NOT_FOUND,
            Self::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// The status of gRPC that says the same, by its table for HTTP statuses ("HTTP to gRPC Status Code Mapping").
    pub fn grpc_status(&self) -> u16 {
        match self.status() {
            StatusCode::BAD_REQUEST => GRPC_INTERNAL,
            StatusCode::NOT_FOUND => GRPC_UNIMPLEMENTED,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => GRPC_UNAVAILABLE,
            _ => GRPC_UNKNOWN,
        }
    }

    /// The error type of RFC 9209 section 2.3, for the `Proxy-Status` field.
    fn proxy_status_type(&self) -> &'static str {
        match self {
            Self::BadRequest(_)
            | Self::ClientBody
            | Self::ClientBodyTimeout
            | Self::ConnectMethod
            | Self::HeadersTooMany
            | Self::KeyBodyTooLarge { .. }
            | Self::KeyMissing { .. }
            | Self::TargetTooLong
            | Self::TransferCoding => "http_request_error",
            Self::Connect { cause: ConnectFailure::Certificate, .. } => "tls_certificate_error",
            Self::Connect { cause: ConnectFailure::Forbidden, .. } => "destination_ip_prohibited",
            Self::Connect { cause: ConnectFailure::Limit, .. } => "connection_limit_reached",
            Self::Connect { cause: ConnectFailure::Files | ConnectFailure::Local, .. } | Self::Panicked => {
                "proxy_internal_error"
            }
            Self::Connect { cause: ConnectFailure::Name, .. } => "dns_error",
            Self::Connect { cause: ConnectFailure::Refused, .. } => "connection_refused",
            Self::Connect { cause: ConnectFailure::TimedOut, .. } => "connection_timeout",
            Self::Connect { cause: ConnectFailure::Tls, .. } => "tls_protocol_error",
            Self::Connect { cause: ConnectFailure::Unreachable, .. } => "destination_ip_unroutable",
            Self::HeadTimeout { .. } | Self::TotalTimeout => "http_response_timeout",
            Self::NoNode { .. } | Self::NodeDown { .. } | Self::NodesDown { .. } => "destination_unavailable",
            Self::QueueTimeout { .. } | Self::TooManyWaiting { .. } => "connection_limit_reached",
            Self::Loop => "proxy_loop_detected",
            Self::NoPool => "destination_not_found",
            Self::Overloaded => "proxy_internal_response",
            Self::NodeClosed { .. } => "connection_terminated",
            Self::NodeProtocol { .. } => "http_protocol_error",
        }
    }

    /// The node it happened at, where there was one.
    fn node(&self) -> Option<&str> {
        match self {
            Self::Connect { node, .. }
            | Self::HeadTimeout { node }
            | Self::NodeClosed { node }
            | Self::NodeDown { node }
            | Self::NodeProtocol { node } => Some(node),
            _ => None,
        }
    }

    /// The value of `Proxy-Status` (RFC 9209): the error type and the node by name, never by address.
    pub fn proxy_status(&self) -> String {
        let mut value = format!("ringway; error={}", self.proxy_status_type());
        if let Some(node) = self.node() {
            // A node name holds no quote or backslash, so it is a structured-field string as it stands.
            write!(value, "; next-hop=\"{node}\"").expect("writing to a string cannot fail");
        }
        value
    }

    /// The limit that the request is over, but for those of bodies, which count where they strike.
    pub(crate) fn limit(&self) -> Option<Limit> {
        match self {
            Self::HeadersTooMany => Some(Limit::MaxHeaders),
            Self::Overloaded => Some(Limit::MaxRequestMemory),
            Self::TargetTooLong => Some(Limit::MaxTargetBytes),
            _ => None,
        }
    }

    /// Whether the client would otherwise go on sending a body nobody reads: the connection must end.
    pub fn poisons_client_connection(&self) -> bool {
        matches!(
            self,
            Self::ClientBody
                | Self::ClientBodyTimeout
                | Self::BadRequest(_)
                // What follows may be meant for the tunnel.
                | Self::ConnectMethod
                | Self::KeyBodyTooLarge { .. }
                | Self::Loop
                | Self::Panicked
                | Self::TransferCoding
        )
    }
}

const GRPC_UNKNOWN: u16 = 2;
const GRPC_UNIMPLEMENTED: u16 = 12;
const GRPC_INTERNAL: u16 = 13;
const GRPC_UNAVAILABLE: u16 = 14;

/// Why another attempt was made; the label `reason` of `ringway_retries_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// The node closed the connection before it had answered, or answered with what is not HTTP.
    Closed,
    /// The node could not be connected to.
    Connect,
    /// A kept connection had been closed; the same node was tried on another connection.
    StaleConnection,
    /// The node answered with a status of `retry-on`.
    Status,
    /// The node did not begin its response in time.
    Timeout,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connection_names_the_node_but_not_its_address() {
        let error = ProxyError::Connect { node: "chat-1".into(), cause: ConnectFailure::Refused };
        assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(error.proxy_status(), "ringway; error=connection_refused; next-hop=\"chat-1\"");
        assert_eq!(error.to_string(), "could not connect to chat-1: connection refused");
    }

    #[test]
    fn what_the_system_says_of_a_connection_is_passed_on_as_rfc_9209_names_it() {
        for (kind, name) in [
            (ErrorKind::ConnectionRefused, "connection_refused"),
            (ErrorKind::NetworkUnreachable, "destination_ip_unroutable"),
            (ErrorKind::TimedOut, "connection_timeout"),
            (ErrorKind::Other, "proxy_internal_error"),
        ] {
            let error = ProxyError::Connect { node: "b".into(), cause: io::Error::from(kind).into() };
            assert_eq!(error.proxy_status(), format!("ringway; error={name}; next-hop=\"b\""), "{kind:?}");
            let is_of_the_node = kind != ErrorKind::Other;
            assert_eq!(error.status() != StatusCode::SERVICE_UNAVAILABLE, is_of_the_node, "{kind:?}");
        }
    }

    #[test]
    fn a_client_that_breaks_its_own_body_is_never_told_it_was_the_gateway() {
        for error in [ProxyError::ClientBody, ProxyError::ClientBodyTimeout] {
            assert!(error.status().is_client_error(), "{error:?}");
            assert!(error.proxy_status().contains("http_request_error"), "{error:?}");
        }
    }
}
