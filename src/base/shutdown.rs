//! One way to stop: the first SIGTERM or SIGINT drains, a second one aborts.
//!
//! In:  signals. Out: a soft token (stop accepting, drain) and a hard token (drop everything).
//! The drain's time limit belongs to `app`.

use tokio_util::sync::CancellationToken;

/// The two tokens every long-lived task watches.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled first: refuse new work, finish what is under way.
    pub soft: CancellationToken,
    /// Cancelled by a second signal or when the drain took too long.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Tokens that no signal has touched yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns SIGTERM and SIGINT into the tokens; ends after the second signal.
    pub async fn watch_signals(self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        for token in [&self.soft, &self.hard] {
            let name = tokio::select! { _ = term.recv() => "SIGTERM", _ = int.recv() => "SIGINT" };
            tracing::info!(signal = name, "stopping");
            token.cancel();
        }
        Ok(())
    }
}
