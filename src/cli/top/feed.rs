//! How a proxy does, as it tells by itself, over its restarts.

use crate::cli::client::Client;
use crate::cli::failure::Failure;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

/// What comes of listening.
pub(super) enum Told {
    /// How the proxy does: the JSON of `GET /v1/status`.
    Status(Vec<u8>),
    /// It is not heard any more, and why. Said once for each reason.
    Lost(String),
}

/// Listens to a proxy.
pub(super) struct Feed<'a> {
    client: &'a Client,
    path: String,
    /// How long the proxy may say nothing.
    patience: Duration,
    told: Sender<Told>,
    has_begun: bool,
    lost: Option<String>,
}

impl<'a> Feed<'a> {
    /// What is told every `interval`, of the nodes of one pool or of all.
    pub(super) fn new(client: &'a Client, pool: Option<&str>, interval: Duration, told: Sender<Told>) -> Feed<'a> {
        let pool = pool.map(|pool| format!("&pool={pool}")).unwrap_or_default();
        let path = format!("/v1/events?status={}ms{pool}", interval.as_millis());
        Feed { client, path, patience: interval + PATIENCE, told, has_begun: false, lost: None }
    }

    /// Tells it without end. Fails when nothing has ever been told: a proxy that has once answered comes back.
    pub(super) async fn tell(mut self) -> Result<Infallible, Failure> {
        loop {
            let Err(failure) = self.listen().await;
            if !self.has_begun {
                return Err(failure);
            }
            let why = failure.message().unwrap_or_default().replacen("error: ", "", 1);
            if self.lost.as_ref() != Some(&why) {
                self.lost = Some(why.clone());
                self.say(Told::Lost(why)).await;
            }
            sleep(RETRY_EVERY).await;
        }
    }

    async fn listen(&mut self) -> Result<Infallible, Failure> {
        let stream = self.client.listen(&self.path, self.patience).await;
        let mut stream = stream.map_err(|failure| self.explained(failure))?;
        loop {
            let told = stream.next().await?;
            if told.name == "status" {
                (self.has_begun, self.lost) = (true, None);
                self.say(Told::Status(told.data)).await;
            }
        }
    }

    /// Everything that is asked for is known to be right, but for what an earlier version does not know.
    fn explained(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Usage(detail) if !self.has_begun => Failure::Failed(format!(
                "this proxy does not tell how it does as it goes (it says: {detail}); it may be older than this \
                 `ringway`. `ringway status` asks it once"
            )),
            other => other,
        }
    }

    /// Whoever looks no more ends this, too.
    async fn say(&self, told: Told) {
        drop(self.told.send(told).await);
    }
}

/// How much later than usual a proxy may tell how it does.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long after a proxy is lost it is looked for again.
const RETRY_EVERY: Duration = Duration::from_secs(1);
