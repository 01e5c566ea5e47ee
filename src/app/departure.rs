//! The end: by a signal, or because another process takes over.

use crate::app::App;
use crate::app::service_manager;
use crate::control::Controller;
use crate::handover::Door;
use crate::handover::HandoverError;
use crate::handover::Successor;
use crate::handover::message::Health;
use crate::handover::message::Offer;
use crate::proxy::worker::Phase;
use std::future::pending;
use std::thread;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How long the end waits for the last lines of the access log.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// How often a process that has handed over looks at what the other one has written to the store.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Why a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It was told to.
    Stop,
    /// Another process serves in its place.
    HandOver,
}

/// What came of a process that wanted to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandOver {
    /// It serves.
    Done,
    /// It does not; this one goes on as if nothing had been.
    Failed,
    /// It does not, because this process was told to stop meanwhile.
    Interrupted,
}

/// Waits for a process that wants to take over; for ever where there is no door.
pub(super) async fn knock(door: Option<&Door>) -> (&Door, Successor) {
    match door {
        Some(door) => (door, door.knock().await),
        None => pending().await,
    }
}

impl App {
    /// Hands over to the process that has knocked, unless it fails, or `stop` comes first.
    pub(super) async fn hand_over(
        &self,
        door: &Door,
        mut successor: Successor,
        stop: impl Future<Output = ()>,
    ) -> HandOver {
        tracing::info!("another process wants to take over");
        let offered = tokio::select! {
            offered = self.offer(door, &mut successor) => offered,
            () = stop => {
                drop(successor);
                self.controller.reclaim().await;
                return HandOver::Interrupted;
            }
        };
        let done = match offered {
            Ok(()) => successor.let_go().await,
            Err(error) => {
                drop(successor);
                Err(error)
            }
        };
        match done {
            Ok(()) => HandOver::Done,
            Err(error) => {
                tracing::warn!(%error, "nothing was handed over; this process goes on");
                self.controller.reclaim().await;
                HandOver::Failed
            }
        }
    }

    /// Lends the store, offers the sockets, and waits until the other process could serve.
    async fn offer(&self, door: &Door, successor: &mut Successor) -> Result<(), HandoverError> {
        successor.greet().await?;
        let histories = match self.controller.lend().await {
            Ok(histories) => histories,
            Err(error) => {
                successor.refuse(&error.to_string()).await;
                return Err(HandoverError::Refused(error.to_string()));
            }
        };
        let marks = self.controller.ill_nodes().into_iter().filter_map(|ill| serde_json::to_value(ill).ok());
        let health = Health::of(marks.collect());
        let offer = Offer { sockets: door.labels().to_vec(), records: Vec::new(), health };
        successor.offer(offer.with_histories(&histories), door.sockets()).await
    }

    /// Drains and ends; `hurry` cuts it short.
    pub(super) async fn leave(self, departure: Departure, hurry: impl Future<Output = ()>) {
        let server = &self.config.server;
        // Nobody waits for a reload that this process will not make.
        drop(self.reloads);
        let following = match departure {
            Departure::Stop => {
                tracing::info!(drain_delay = ?server.drain_delay, grace = ?server.grace, "stopping");
                service_manager::stopping();
                // As long as there are duplicates, the kernel takes connections that nobody would accept.
                drop(self.door);
                None
            }
            Departure::HandOver => {
                tracing::info!(grace = ?server.grace, "handed over to another process");
                service_manager::handed_over();
                self.admin.hand_over();
                self.door.into_iter().for_each(Door::leave);
                Some(&self.controller)
            }
        };
        let (phase, workers) = (self.phase, self.workers);
        let (ended, joined) = tokio::sync::oneshot::channel();
        let draining = async {
            if departure == Departure::Stop {
                phase.send_replace(Phase::Draining);
                tokio::time::sleep(server.drain_delay).await;
            }
            phase.send_replace(match departure {
                Departure::Stop => Phase::Closing,
                Departure::HandOver => Phase::HandedOver,
            });
            thread::spawn(move || {
                workers.join();
                // The receiver is gone when the deadline has passed.
                ended.send(()).unwrap_or_default();
            });
            if tokio::time::timeout(server.grace, joined).await.is_err() {
                tracing::warn!("the grace period is over; open requests are cut");
            }
        };
        tokio::select! {
            () = draining => {}
            () = follow(following) => {}
            () = hurry => tracing::warn!("second signal; open requests are cut"),
        }
        phase.send_replace(Phase::Ended);
        self.admin.stop().await;
        drop(self.controller);
        // The control thread ends by itself once every handle is dropped; a write in progress is finished first.
        match tokio::task::spawn_blocking(|| self.control_thread.join()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the control thread had panicked"),
            Err(error) => tracing::error!(%error, "the control thread could not be waited for"),
        }
        if let Some(log) = self.access_log {
            log.flush(LOG_PATIENCE);
        }
        tracing::info!("stopped");
    }
}

/// Serves what another process writes to the store, for ever; nothing where there is no control plane to do so.
async fn follow(controller: Option<&Controller>) {
    let Some(controller) = controller else { return pending().await };
    let mut tick = tokio::time::interval(FOLLOW_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        controller.follow().await;
    }
}
