//! `weir check`: one line for each thing the server stands on. Changes nothing that stays.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::app::open::connect;
use crate::base::tls::{self, certificates};
use crate::base::{ids, output};
use crate::config::{self, Config};
use crate::db::Access;
use crate::db::connect::Location;
use crate::storage::{self, Store};
use crate::transcode::codecs::Codecs;

/// Prints the lines; code 1 if one of them tells of trouble.
pub(super) async fn run(
    file: Option<&Path>,
    config: Result<Config, config::Error>,
) -> anyhow::Result<ExitCode> {
    let mut is_sound = true;
    let mut report = |what: &str, outcome: anyhow::Result<String>| {
        is_sound &= outcome.is_ok();
        let line = match outcome {
            Ok(fact) => format!("{what:<9} ok      {fact}\n"),
            Err(error) => format!("{what:<9} FAILED  {error:#}\n"),
        };
        output::print(&line)
    };
    match config {
        Ok(config) => {
            let source = file.map_or("defaults".into(), |path| path.display().to_string());
            report("config", Ok(format!("{source} and the environment")))?;
            report("database", database(&config).await)?;
            report("store", store(&config).await)?;
            report("ladders", ladders(&config))?;
            if config.tls.is_enabled() {
                report("tls", tls(&config.tls))?;
            }
        }
        Err(error) => report("config", Err(error.into()))?,
    }
    report("codecs", codecs())?;
    Ok(if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn database(config: &Config) -> anyhow::Result<String> {
    let url = config.database_url();
    if let Location::Sqlite(path) = url.location()?
        && !path.try_exists()?
    {
        probe_folder(path.parent().unwrap_or(Path::new(".")))?;
        return Ok(format!("{url}, made at the first start"));
    }
    let db = connect(config, Access::Existing).await?;
    let (applied, total) = db.migrations().await?;
    db.close().await;
    match total.saturating_sub(applied) {
        0 => Ok(format!("{url}, schema up to date")),
        pending => Ok(format!("{url}, {pending} migrations run at the next start")),
    }
}

/// Writes, reads and deletes a small object; a folder not made yet is not made by this.
async fn store(config: &Config) -> anyhow::Result<String> {
    let location = config.storage.location(config.data_dir())?;
    if let storage::Location::Folder(folder) = &location
        && !folder.try_exists()?
    {
        probe_folder(folder)?;
        return Ok(format!("{location}, made at the first start"));
    }
    Store::open(&location, &config.storage, std::env::vars())?
        .probe()
        .await?;
    Ok(location.to_string())
}

fn ladders(config: &Config) -> anyhow::Result<String> {
    config.ladders()?;
    let path = &config.transcode.ladders_file;
    Ok(if path.as_os_str().is_empty() {
        "as built in".to_owned()
    } else {
        path.display().to_string()
    })
}

fn tls(tls: &tls::Config) -> anyhow::Result<String> {
    if !tls.acme_domains.is_empty() {
        let names = tls.acme_domains.join(", ");
        return Ok(format!("{names} by ACME from {}", tls.acme_directory));
    }
    let length = certificates::check(tls)?;
    let file = tls.certificate_file.display();
    Ok(format!("{file}, a chain of {length}"))
}

fn codecs() -> anyhow::Result<String> {
    let codecs = Codecs::probe();
    let missing = codecs.missing();
    if missing.is_empty() {
        return Ok(codecs.to_string());
    }
    bail!(
        "{codecs}; missing: {}; install an FFmpeg built with them",
        missing.join(", ")
    )
}

/// Writes and removes a file in `folder`, or in the first of its parents that exists.
fn probe_folder(folder: &Path) -> anyhow::Result<()> {
    let is_named = |dir: &&Path| !dir.as_os_str().is_empty();
    let existing = folder.ancestors().filter(is_named).find(|dir| dir.exists());
    let existing = existing.unwrap_or(Path::new("."));
    let probe = existing.join(format!(".weir-check-{}", ids::alphanumeric(8)));
    let written = File::create_new(&probe).and_then(|mut file| file.write_all(b"check"));
    if written.is_ok() {
        std::fs::remove_file(&probe)?;
    }
    written.with_context(|| format!("the folder {} cannot be written to", existing.display()))
}
