//! Logs to standard error, metrics for Prometheus.
//!
//! In:  what to log and in which form. Out: a global subscriber and a global recorder, each set
//! once per process. Not here: what is logged; the `/metrics` listener (`app`).

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::prelude::*;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Form of a line.
    pub format: Format,
    /// Least level, or directives as `info,weir::ingest=debug`.
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::Text,
            filter: "info".to_owned(),
        }
    }
}

impl Config {
    /// Refuses a filter that cannot be understood.
    pub fn validate(&self) -> Result<(), String> {
        let filter: Result<Targets, _> = self.filter.parse();
        filter.map(drop).map_err(|e| e.to_string())
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up {what}: {why}")]
pub struct Error {
    what: &'static str,
    why: String,
}

/// Sends the process's logs to standard error from now on.
pub fn log_to_stderr(config: &Config) -> Result<(), Error> {
    let failed = |why: String| Error {
        what: "logging",
        why,
    };
    let filter: Targets = config
        .filter
        .parse()
        .map_err(|e: ParseError| failed(e.to_string()))?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A filter of spans' fields, as EnvFilter is, would be asked at each step of each task.
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = match config.format {
        Format::Text => registry.with(lines).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    outcome.map_err(|e| failed(e.to_string()))
}

/// The process's metrics.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Upper bounds of every histogram's buckets; all our histograms are delays in seconds.
const SECONDS_BUCKETS: [f64; 19] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.035, 0.04, 0.045, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15,
    0.2, 0.3, 0.5, 1.0,
];

impl Metrics {
    /// Records every metric of this process from now on.
    pub fn install() -> Result<Self, Error> {
        let handle = PrometheusBuilder::new()
            .set_buckets(&SECONDS_BUCKETS)
            .and_then(PrometheusBuilder::install_recorder);
        handle.map(Self).map_err(|e| Error {
            what: "metrics",
            why: e.to_string(),
        })
    }

    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds recorded histogram samples together; to be called every few seconds, or memory
    /// grows while nobody scrapes.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        for (filter, is_valid) in [
            ("info", true),
            ("warn,weir::ingest=debug", true),
            ("weir=loud", false),
        ] {
            let config = Config {
                filter: filter.to_owned(),
                ..Config::default()
            };
            assert_eq!(config.validate().is_ok(), is_valid, "{filter}");
        }
    }

    #[test]
    fn metrics_are_rendered() {
        let metrics = Metrics::install().unwrap();
        metrics::counter!("weir_telemetry_test_total").increment(2);
        metrics.upkeep();
        assert!(
            metrics.render().contains("weir_telemetry_test_total 2"),
            "{}",
            metrics.render()
        );
        assert!(Metrics::install().is_err(), "a process has one recorder");
    }
}
