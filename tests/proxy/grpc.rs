//! gRPC as others speak it: a client and a server of tonic, with Ringway between them.

use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::within;
use bytes::Buf;
use bytes::BufMut;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Code;
use tonic::Request;
use tonic::Response;
use tonic::Status;
use tonic::Streaming;
use tonic::body::Body;
use tonic::client;
use tonic::codec::Codec;
use tonic::codec::DecodeBuf;
use tonic::codec::Decoder;
use tonic::codec::EncodeBuf;
use tonic::codec::Encoder;
use tonic::codegen::BoxFuture;
use tonic::codegen::Service;
use tonic::codegen::http;
use tonic::codegen::tokio_stream;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::server;
use tonic::transport::Channel;
use tonic::transport::Endpoint;
use tonic::transport::Server;

/// Messages that are text, which spares the stories a generator of code.
#[derive(Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Text;
    type Decoder = Text;

    fn encoder(&mut self) -> Text {
        Text
    }

    fn decoder(&mut self) -> Text {
        Text
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

type Answers = ReceiverStream<Result<String, Status>>;

/// The service of one node.
#[derive(Clone)]
struct Echo {
    name: &'static str,
    /// What calls came with.
    metadata: Arc<Mutex<Vec<MetadataMap>>>,
    /// Calls that are hanging now.
    hanging: Arc<AtomicUsize>,
}

impl Echo {
    /// A node that serves it.
    async fn node(name: &'static str) -> (Node, Echo) {
        let echo = Echo { name, metadata: Arc::default(), hanging: Arc::default() };
        let served = echo.clone();
        let node = Node::script(name, move |wire| {
            let incoming = tokio_stream::once(Ok::<_, io::Error>(wire.into_tcp()));
            let served = Server::builder().serve_with_incoming(served.clone(), incoming);
            async move { drop(served.await) }
        });
        (node.await, echo)
    }

    /// One message each way: the name of the node and what was said.
    async fn say(self, request: Request<String>) -> Result<Response<String>, Status> {
        self.metadata.lock().unwrap().push(request.metadata().clone());
        let mut response = Response::new(format!("{}: {}", self.name, request.get_ref()));
        response.metadata_mut().insert("x-node", self.name.parse().unwrap());
        Ok(response)
    }

    /// Counts up to a number; when it is over three, breaks off there with an error.
    async fn count(self, request: Request<String>) -> Result<Response<Answers>, Status> {
        let last: u32 = request.get_ref().parse().map_err(|_| Status::invalid_argument("no number"))?;
        let (send, answers) = mpsc::channel(1);
        tokio::spawn(async move {
            for number in 1..=last.min(3) {
                send.send(Ok(number.to_string())).await.unwrap();
            }
            if last > 3 {
                let status =
                    Status::with_details(Code::ResourceExhausted, "zu viele für heute", b"\x00\x01".as_slice().into());
                send.send(Err(status)).await.unwrap();
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    /// Joins what comes.
    async fn join(self, request: Request<Streaming<String>>) -> Result<Response<String>, Status> {
        let mut messages = request.into_inner();
        let mut all = Vec::new();
        while let Some(message) = messages.message().await? {
            all.push(message);
        }
        Ok(Response::new(all.join("+")))
    }

    /// Answers each message before it looks at the next.
    async fn chat(self, request: Request<Streaming<String>>) -> Result<Response<Answers>, Status> {
        let (send, answers) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut messages = request.into_inner();
            while let Ok(Some(message)) = messages.message().await {
                if send.send(Ok(format!("{}: {message}", self.name))).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    /// Never answers.
    async fn hang(self, request: Request<String>) -> Result<Response<String>, Status> {
        self.metadata.lock().unwrap().push(request.metadata().clone());
        let _hanging = Hanging::begin(&self.hanging);
        std::future::pending().await
    }
}

/// A call that hangs, until its server lets go of it.
struct Hanging(Arc<AtomicUsize>);

impl Hanging {
    fn begin(count: &Arc<AtomicUsize>) -> Hanging {
        count.fetch_add(1, SeqCst);
        Hanging(Arc::clone(count))
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A method as tonic takes it.
struct Method<F>(F);

impl<F, M, R, A> Service<Request<M>> for Method<F>
where
    F: FnMut(Request<M>) -> R,
    R: Future<Output = Result<Response<A>, Status>>,
{
    type Response = Response<A>;
    type Error = Status;
    type Future = R;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<M>) -> R {
        (self.0)(request)
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = server::Grpc::new(Text);
            Ok(match request.uri().path() {
                "/story.Echo/Say" => grpc.unary(Method(|call| echo.clone().say(call)), request).await,
                "/story.Echo/Count" => grpc.server_streaming(Method(|call| echo.clone().count(call)), request).await,
                "/story.Echo/Join" => grpc.client_streaming(Method(|call| echo.clone().join(call)), request).await,
                "/story.Echo/Chat" => grpc.streaming(Method(|call| echo.clone().chat(call)), request).await,
                "/story.Echo/Hang" => grpc.unary(Method(|call| echo.clone().hang(call)), request).await,
                path => Status::unimplemented(format!("there is no {path}")).into_http(),
            })
        })
    }
}

/// A client of the service, through the proxy.
#[derive(Clone)]
struct Caller(client::Grpc<Channel>);

impl Caller {
    async fn of(proxy: &Proxy) -> Caller {
        let endpoint = Endpoint::from_shared(format!("http://{}", proxy.address)).unwrap();
        Caller(client::Grpc::new(within("connecting", endpoint.connect()).await.unwrap()))
    }

    async fn ready(&mut self) {
        within("a channel", self.0.ready()).await.unwrap();
    }

    async fn unary(&mut self, method: &'static str, request: Request<String>) -> Result<Response<String>, Status> {
        self.ready().await;
        within(method, self.0.unary(request, http::uri::PathAndQuery::from_static(method), Text)).await
    }

    async fn count(&mut self, last: &str) -> Result<Streaming<String>, Status> {
        self.ready().await;
        let path = http::uri::PathAndQuery::from_static("/story.Echo/Count");
        let answers = self.0.server_streaming(Request::new(last.to_owned()), path, Text);
        Ok(within("an answer", answers).await?.into_inner())
    }

    async fn chat(&mut self, key: &str) -> (mpsc::Sender<String>, Streaming<String>) {
        self.ready().await;
        let (send, messages) = mpsc::channel(1);
        let request = with_key(key, ReceiverStream::new(messages));
        let path = http::uri::PathAndQuery::from_static("/story.Echo/Chat");
        let answers = within("an answer", self.0.streaming(request, path, Text)).await.unwrap();
        (send, answers.into_inner())
    }
}

fn with_key<M>(key: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-key", key.parse().unwrap());
    request
}

async fn one_node() -> (Proxy, Node, Echo, Caller) {
    let (node, echo) = Echo::node("a").await;
    let proxy = Setup::of(&[&node]).pool("protocol = \"h2\"").start();
    let caller = Caller::of(&proxy).await;
    (proxy, node, echo, caller)
}

#[tokio::test]
async fn unary_calls_go_through_small_and_large() {
    let (_proxy, node, echo, mut caller) = one_node().await;
    let answer = caller.unary("/story.Echo/Say", with_key("k", "hello".to_owned())).await.unwrap();
    assert_eq!(answer.get_ref(), "a: hello");
    assert_eq!(answer.metadata().get("x-node").unwrap(), "a");
    // Longer than every window on the way.
    let large = "x".repeat(3 << 20);
    let answer = caller.unary("/story.Echo/Say", Request::new(large.clone())).await.unwrap();
    assert!(answer.into_inner() == format!("a: {large}"));
    assert_eq!(echo.metadata.lock().unwrap()[0].get("x-key").unwrap(), "k");
    assert_eq!(node.accepted(), 1);
}

#[tokio::test]
async fn a_server_streams_and_ends_with_a_status() {
    let (_proxy, _node, _echo, mut caller) = one_node().await;
    let mut answers = caller.count("3").await.unwrap();
    let mut all = Vec::new();
    while let Some(number) = within("a number", answers.message()).await.unwrap() {
        all.push(number);
    }
    assert_eq!(all, ["1", "2", "3"]);
    let mut answers = caller.count("4").await.unwrap();
    for number in ["1", "2", "3"] {
        assert_eq!(within("a number", answers.message()).await.unwrap().as_deref(), Some(number));
    }
    let status = within("the status in trailers", answers.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "zu viele für heute"));
    assert_eq!(status.details(), b"\x00\x01");
}

#[tokio::test]
async fn an_answer_may_be_trailers_alone() {
    let (_proxy, _node, _echo, mut caller) = one_node().await;
    let status = caller.count("many").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "no number"));
    let status = caller.unary("/story.Echo/None", Request::new(String::new())).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "there is no /story.Echo/None"));
}

#[tokio::test]
async fn a_client_streams_and_gets_one_answer() {
    let (_proxy, _node, _echo, mut caller) = one_node().await;
    caller.ready().await;
    let messages = tokio_stream::iter(["a", "b", "", "c"].map(str::to_owned));
    let path = http::uri::PathAndQuery::from_static("/story.Echo/Join");
    let answer = within("an answer", caller.0.client_streaming(Request::new(messages), path, Text)).await.unwrap();
    assert_eq!(answer.into_inner(), "a+b++c");
}

#[tokio::test]
async fn in_a_chat_each_message_waits_for_the_answer_to_the_one_before() {
    let (_proxy, _node, _echo, mut caller) = one_node().await;
    let (send, mut answers) = caller.chat("k").await;
    for number in 0..200 {
        send.send(number.to_string()).await.unwrap();
        let answer = within("the answer to a message", answers.message()).await.unwrap();
        assert_eq!(answer, Some(format!("a: {number}")));
    }
    drop(send);
    assert_eq!(within("the end", answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn a_call_that_its_client_gives_up_ends_at_the_server() {
    let (_proxy, _node, echo, mut caller) = one_node().await;
    let mut other = caller.clone();
    let call = tokio::spawn(async move { other.unary("/story.Echo/Hang", Request::new(String::new())).await });
    eventually("the call is at the server", || echo.hanging.load(SeqCst) == 1).await;
    call.abort();
    eventually("the server has let go of it", || echo.hanging.load(SeqCst) == 0).await;
    assert!(caller.unary("/story.Echo/Say", Request::new(String::new())).await.is_ok(), "the connection goes on");
}

#[tokio::test]
async fn a_deadline_reaches_the_server() {
    let (_proxy, _node, echo, mut caller) = one_node().await;
    let mut request = Request::new(String::new());
    request.set_timeout(Duration::from_millis(300));
    let status = caller.unary("/story.Echo/Hang", request).await.unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status}");
    eventually("the server has let go of it", || echo.hanging.load(SeqCst) == 0).await;
    let metadata = echo.metadata.lock().unwrap();
    assert_eq!(metadata[0].get("grpc-timeout").unwrap(), "300000u");
}

#[tokio::test]
async fn all_calls_of_a_key_go_to_the_same_node() {
    let ((a, _), (b, _)) = (Echo::node("a").await, Echo::node("b").await);
    let proxy = Setup::of(&[&a, &b]).pool("protocol = \"h2\"").start();
    let mut seen = BTreeSet::new();
    for number in 0..20 {
        let key = format!("room-{number}");
        // Another connection each time: nothing but the key says where to.
        let mut caller = Caller::of(&proxy).await;
        let answer = caller.unary("/story.Echo/Say", with_key(&key, "x".to_owned())).await.unwrap().into_inner();
        let (send, mut answers) = caller.chat(&key).await;
        send.send("x".to_owned()).await.unwrap();
        assert_eq!(within("an answer", answers.message()).await.unwrap(), Some(answer.clone()), "{key}");
        seen.insert(answer);
    }
    assert_eq!(seen, BTreeSet::from(["a: x".to_owned(), "b: x".to_owned()]));
}

#[tokio::test]
async fn without_any_node_a_call_is_unavailable() {
    let node = Node::refusing("a");
    let proxy = Setup::of(&[&node]).pool("protocol = \"h2\"").start();
    let status = Caller::of(&proxy).await.unary("/story.Echo/Say", Request::new(String::new())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}
