//! Every task is named, tracked and cancellable; there is no other way to start one.
//!
//! In:  a name and a future. Out: the task runs until it ends or its [`Tasks`] is cancelled.
//! A panic ends its own task only, is logged with the task's name and counted.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// A group of tasks that are cancelled and awaited together.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// The token that tells this group's tasks to end.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Tasks not yet ended.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether every task has ended.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Starts `task` under `name`. The task watches [`Tasks::token`] itself where it wants an
    /// orderly end; [`Tasks::stop`] waits for it.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = metrics::gauge!("weir_tasks", "task" => name);
        running.increment(1.0);
        let span = tracing::info_span!(parent: None, "task", name);
        let guarded = async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            running.decrement(1.0);
            if outcome.is_err() {
                metrics::counter!("weir_task_panics_total", "task" => name).increment(1);
                tracing::error!("task panicked");
            }
        };
        self.tracker.spawn(guarded.instrument(span));
    }

    /// As [`Tasks::spawn`], dropping the future at its next await when the group is cancelled.
    pub fn spawn_cancellable<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = self.token.clone();
        self.spawn(name, async move {
            token.run_until_cancelled(task).await;
        });
    }

    /// Cancels the group and waits until its last task has ended.
    pub async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_only_its_task_and_stop_waits_for_the_rest() {
        let tasks = Tasks::new();
        let (done_tx, done_rx) = tokio::sync::oneshot::channel();
        tasks.spawn("panics", async { panic!("seeded") });
        let token = tasks.token().clone();
        tasks.spawn("waits", async move {
            token.cancelled().await;
            done_tx.send(()).unwrap();
        });
        tasks.spawn_cancellable("never ends", std::future::pending());
        tasks.stop().await;
        done_rx.await.unwrap();
        assert!(tasks.is_empty());
    }
}
