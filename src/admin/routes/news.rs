//! What happens, as server-sent events (the HTML standard, section 9.2).

use crate::admin::api::Api;
use crate::admin::auth::Role;
use crate::admin::extract::Query;
use crate::admin::model::RoleName;
use crate::admin::problem::Fault;
use crate::admin::problem::Kind;
use crate::admin::responses::FollowProblem;
use crate::control::news::News;
use crate::proxy::worker::Phase;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use bytes::Bytes;
use bytes::BytesMut;
use http::header;
use http_body_util::channel::Channel;
use http_body_util::channel::Sender;
use serde::Deserialize;
use std::future::pending;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::Interval;
use tokio::time::MissedTickBehavior;
use utoipa::IntoParams;

/// Which news.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FollowQuery {
    /// Only what happens in this pool; absent: in all.
    pool: Option<String>,
    /// Also how the proxy does, this often: `1s` to `60s`.
    status: Option<String>,
}

/// What happens from now on
///
/// Each event has a name and one JSON object, whose member `event` is that name too: `membership` (as in the history of
/// its pool), `node-down` and `node-up` (`pool`, `node`, `cause`, `at_ms`), `panic` (`pool`, `on`, `at_ms`) and, for a
/// reader that is too slow, `missed` (`events`: how many). With `status` there are events of that name too, the first
/// at once and one after each change: the object of `GET /v1/status`, in which only `pool`, where one is given, has
/// its nodes. It ends when this proxy does.
#[utoipa::path(
    get,
    operation_id = "follow_events",
    path = "/v1/events",
    tag = "process",
    params(FollowQuery),
    responses(
        (status = 200, description = "Events without end", body = String, content_type = "text/event-stream"),
        FollowProblem
    )
)]
pub(crate) async fn follow(
    State(api): State<Arc<Api>>,
    Extension(role): Extension<Role>,
    Query(query): Query<FollowQuery>,
) -> Result<Response, Fault> {
    if let Some(name) = &query.pool {
        api.pool(name)?;
    }
    let watch = match query.status.as_deref() {
        Some(every) => Some(Watch::new(&api, role, every)?),
        None => None,
    };
    let (stream, body) = Channel::new(1);
    let listener = Listener { news: api.controller.listen(), phase: api.phases(), pool: query.pool };
    // Of the control plane it has only an ear, or that could not end.
    tokio::spawn(listener.write(watch, stream));
    let fields = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((fields, Body::new(body)).into_response())
}

/// Somebody who is told.
struct Listener {
    news: broadcast::Receiver<Arc<News>>,
    phase: watch::Receiver<Phase>,
    /// Only what happens in this pool.
    pool: Option<String>,
}

impl Listener {
    /// Writes until the client leaves, or the process ends or hands over: clients ask again, and reach the one that
    /// serves.
    async fn write(self, mut watch: Option<Watch>, mut stream: Sender<Bytes>) {
        let Listener { mut news, mut phase, pool } = self;
        // A comment, so that the client sees at once that it is heard.
        let mut text = Bytes::from_static(b": what happens from now on\n\n");
        while stream.send_data(text).await.is_ok() {
            text = tokio::select! {
                heard = hear(&mut news, pool.as_deref()) => match heard {
                    Some(news) => as_text(&news),
                    None => return,
                },
                status = next_status(&mut watch, pool.as_deref()) => match status {
                    Some(status) => status,
                    None => return,
                },
                () = tokio::time::sleep(COMMENT_EVERY) => Bytes::from_static(b":\n\n"),
                _ = phase.wait_for(|phase| *phase >= Phase::HandedOver) => return,
            };
            if let Some(watch) = watch.as_mut().filter(|_| text.starts_with(MEMBERSHIP)) {
                watch.ticks.reset_immediately();
            }
        }
    }
}

/// The next of the news, of those of one pool where `wanted` names it; `None` when there will be no more.
async fn hear(news: &mut broadcast::Receiver<Arc<News>>, wanted: Option<&str>) -> Option<Arc<News>> {
    loop {
        let news = match news.recv().await {
            Ok(news) => news,
            Err(RecvError::Lagged(events)) => Arc::new(News::Missed { events }),
            Err(RecvError::Closed) => return None,
        };
        if wanted.is_none() || news.pool().is_none() || wanted == news.pool() {
            return Some(news);
        }
    }
}

/// How the proxy does, again and again.
struct Watch {
    /// Weak, so that a client that stays does not keep what the API answers from.
    api: Weak<Api>,
    role: RoleName,
    ticks: Interval,
    _room: OwnedSemaphorePermit,
}

impl Watch {
    fn new(api: &Arc<Api>, role: Role, every: &str) -> Result<Watch, Fault> {
        let every = humantime::parse_duration(every).ok().filter(|every| WATCH_EVERY.contains(every));
        let bad = || Fault::new(Kind::BadRequest, "`status` is how often to tell how the proxy does; give 1s to 60s");
        let crowded = || {
            Fault::new(Kind::Crowded, "as many as may be watch already; close a page, or ask `GET /v1/status` instead")
        };
        let mut ticks = tokio::time::interval(every.ok_or_else(bad)?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let room = Arc::clone(&api.watchers).try_acquire_owned().map_err(|_| crowded())?;
        Ok(Watch { api: Arc::downgrade(api), role: role.into(), ticks, _room: room })
    }
}

/// The next event `status`, for ever to come without a watch; `None` when the API is gone.
async fn next_status(watch: &mut Option<Watch>, pool: Option<&str>) -> Option<Bytes> {
    let Some(watch) = watch else { return pending().await };
    watch.ticks.tick().await;
    let api = watch.api.upgrade()?;
    let data = api.figures.text(&api, watch.role, pool);
    let mut text = BytesMut::with_capacity(data.len() + 32);
    for part in [b"event: status\ndata: ", &data[..], b"\n\n"] {
        text.extend_from_slice(part);
    }
    Some(text.freeze())
}

fn as_text(news: &News) -> Bytes {
    let data = serde_json::to_string(news).expect("news hold strings, integers and named fields only");
    Bytes::from(format!("event: {}\ndata: {data}\n\n", news.name()))
}

/// How an event begins after which figures of before it are out of date.
const MEMBERSHIP: &[u8] = b"event: membership\n";

/// How often a watcher may be told how the proxy does.
const WATCH_EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

/// How often a stream without news shows that it is alive; well below what things in between take for dead.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn panic(on: bool) -> Arc<News> {
        Arc::new(News::Panic { pool: "p".to_owned(), on, at_ms: 7 })
    }

    #[tokio::test]
    async fn a_listener_of_a_pool_hears_of_no_other() {
        let (teller, mut news) = broadcast::channel(4);
        teller.send(Arc::new(News::Panic { pool: "q".to_owned(), on: true, at_ms: 7 })).unwrap();
        teller.send(panic(true)).unwrap();
        assert_eq!(hear(&mut news, Some("p")).await, Some(panic(true)));
        drop(teller);
        assert_eq!(hear(&mut news, Some("p")).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_told_what_it_missed_and_goes_on() {
        let (teller, news) = broadcast::channel(2);
        let (phase, phases) = watch::channel(Phase::Running);
        let (stream, mut body) = Channel::new(1);
        for number in 0..5 {
            teller.send(panic(number % 2 == 0)).unwrap();
        }
        let listener = Listener { news, phase: phases, pool: None };
        let writing = tokio::spawn(listener.write(None, stream));
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
