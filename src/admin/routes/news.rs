//! What happens, as server-sent events (the HTML standard, section 9.2).

use crate::admin::api::Api;
use crate::admin::responses::AnyProblem;
use crate::control::news::News;
use crate::proxy::worker::Phase;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;
use http::header;
use http_body_util::channel::Channel;
use http_body_util::channel::Sender;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// What happens from now on, in all pools
///
/// Each event has a name and one JSON object, whose member `event` is that name too: `membership` (as in the history of
/// its pool), `node-down` and `node-up` (`pool`, `node`, `cause`, `at_ms`), `panic` (`pool`, `on`, `at_ms`) and, for a
/// reader that is too slow, `missed` (`events`: how many). It ends when this proxy does.
#[utoipa::path(
    get,
    operation_id = "follow_events",
    path = "/v1/events",
    tag = "process",
    responses(
        (status = 200, description = "Events without end", body = String, content_type = "text/event-stream"),
        AnyProblem
    )
)]
pub(crate) async fn follow(State(api): State<Arc<Api>>) -> Response {
    let (stream, body) = Channel::new(1);
    // It has nothing of the control plane but an ear, or that could not end.
    tokio::spawn(write(api.controller.listen(), api.phases(), stream));
    let fields = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (fields, Body::new(body)).into_response()
}

/// Writes until the client leaves, or the process ends or hands over: clients ask again, and reach the one that serves.
async fn write(mut news: broadcast::Receiver<Arc<News>>, mut phase: watch::Receiver<Phase>, mut stream: Sender<Bytes>) {
    // A comment, so that the client sees at once that it is heard.
    let mut text = ": what happens from now on\n\n".to_owned();
    while stream.send_data(Bytes::from(text)).await.is_ok() {
        text = tokio::select! {
            heard = news.recv() => match heard {
                Ok(news) => as_text(&news),
                Err(RecvError::Lagged(events)) => as_text(&News::Missed { events }),
                Err(RecvError::Closed) => return,
            },
            () = tokio::time::sleep(COMMENT_EVERY) => ":\n\n".to_owned(),
            _ = phase.wait_for(|phase| *phase >= Phase::HandedOver) => return,
        };
    }
}

fn as_text(news: &News) -> String {
    let data = serde_json::to_string(news).expect("news hold strings, integers and named fields only");
    format!("event: {}\ndata: {data}\n\n", news.name())
}

/// How often a stream without news shows that it is alive; well below what things in between take for dead.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn panic(on: bool) -> Arc<News> {
        Arc::new(News::Panic { pool: "p".to_owned(), on, at_ms: 7 })
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_told_what_it_missed_and_goes_on() {
        let (teller, news) = broadcast::channel(2);
        let (phase, phases) = watch::channel(Phase::Running);
        let (stream, mut body) = Channel::new(1);
        for number in 0..5 {
            teller.send(panic(number % 2 == 0)).unwrap();
        }
        let writing = tokio::spawn(write(news, phases, stream));
        let mut next = async || match body.frame().await {
            Some(frame) => String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap(),
            None => "the end".to_owned(),
        };
        let panic =
            |on| format!("event: panic\ndata: {{\"event\":\"panic\",\"pool\":\"p\",\"on\":{on},\"at_ms\":7}}\n\n");
        assert!(next().await.starts_with(": "));
        assert_eq!(next().await, "event: missed\ndata: {\"event\":\"missed\",\"events\":3}\n\n");
        assert_eq!([next().await, next().await], [panic(false), panic(true)]);
        assert_eq!(next().await, ":\n\n", "nothing happens for a while");
        phase.send_replace(Phase::Ended);
        assert_eq!(next().await, "the end");
        writing.await.unwrap();
    }
}
