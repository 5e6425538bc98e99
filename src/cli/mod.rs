//! The command line.
//!
//! In:  arguments and the environment. Out: one command run, its answer on standard output, its
//! errors on standard error; exit code 0, 1 for trouble, 2 for wrong usage.
//! Not here: what the commands do to the state (`app`, `model`).

mod channel;
mod check;
mod check_stream;
mod dev_cert;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::app;
use crate::app::info::Info;
use crate::base::clock::SystemClock;
use crate::base::output::print;
use crate::base::telemetry;
use crate::config::Config;
use crate::db::Access;
use crate::transcode::codecs::Codecs;

/// How long a thread for blocking work may idle.
const IDLE_THREAD: Duration = Duration::from_secs(2);

/// How long a command that is done waits for blocking work that nobody waits for any more. A file that is a pipe
/// can keep it for ever.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

/// Self-hosted live streaming: RTMP in, LL-HLS out, with the Amazon IVS contract.
#[derive(Debug, Parser)]
#[command(name = "weir", version, propagate_version = false)]
struct Cli {
    /// Configuration file; without one the defaults hold. The environment overrides both.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM or SIGINT.
    Serve,
    /// Check configuration, database, store, ladders, certificate and codecs; exit 1 on trouble. Changes nothing.
    Check,
    /// Follow a stream, on any server, and report what breaks the rules of low-latency HLS.
    CheckStream(check_stream::Arguments),
    /// Show the URLs, where the credentials lie, and the default channel.
    Info {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make, list, show, change or delete channels.
    #[command(subcommand)]
    Channel(channel::Command),
    /// Make a TLS certificate for trying out HTTPS and RTMPS on this machine.
    DevCert(dev_cert::Arguments),
    /// Bring the database to this version's schema.
    Migrate,
    /// Show the version of Weir and of the codec library.
    Version,
}

/// Runs the command that `args` (program name first) ask for.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // Help and version go to standard output with code 0, mistakes to standard error with 2.
        Err(usage) => return usage_exit(&usage),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Threads of a burst of file operations are kept in turn by any trickle of them if they may idle for longer.
        .thread_keep_alive(IDLE_THREAD)
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(execute(cli));
            runtime.shutdown_timeout(BLOCKING_GRACE);
            outcome
        }
        Err(e) => Err(e.into()),
    };
    outcome.unwrap_or_else(|error| {
        complain(&format!("weir: {error:#}\n"));
        ExitCode::FAILURE
    })
}

async fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    let load = || Config::load(cli.config.as_deref(), environment());
    match cli.command {
        Command::Serve => {
            let config = load()?;
            telemetry::log_to_stderr(&config.log)?;
            app::serve(config).await?;
        }
        Command::Check => return check::run(cli.config.as_deref(), load()).await,
        Command::CheckStream(arguments) => return check_stream::run(arguments).await,
        Command::Info { json } => {
            let info = Info::gather(&app::open::open(&load()?, &SystemClock).await?).await?;
            print(&if json {
                to_json(&info)?
            } else {
                info.to_string()
            })?;
        }
        Command::Channel(command) => {
            let opened = app::open::open(&load()?, &SystemClock).await?;
            print(&channel::run(command, &opened, &SystemClock).await?)?;
        }
        Command::DevCert(arguments) => {
            print(&dev_cert::run(arguments, &load()?, &SystemClock)?)?;
        }
        Command::Migrate => {
            let db = app::open::connect(&load()?, Access::Create).await?;
            db.migrate().await?;
            let (applied, _) = db.migrations().await?;
            print(&format!("{applied} migrations are in place\n"))?;
        }
        Command::Version => {
            print(&format!(
                "weir {}\n{}\n",
                env!("CARGO_PKG_VERSION"),
                Codecs::probe()
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The variables that can be ours; one that is no UTF-8 cannot be.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}

fn to_json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn usage_exit(usage: &clap::Error) -> ExitCode {
    // Nothing can be told if the terminal is gone.
    usage.print().ok();
    u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn complain(text: &str) {
    // As above.
    std::io::stderr().write_all(text.as_bytes()).ok();
}
