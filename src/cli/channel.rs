//! `weir channel …`: the same repository calls as the API.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{to_json, words};
use crate::app::info::Links;
use crate::app::open::Opened;
use crate::base::clock::Clock;
use crate::model::arn::{Arn, Resource};
use crate::model::channel::{ChannelType, ContainerFormat, LatencyMode, Preset, Settings};
use crate::model::repository::{ChannelRepository as _, NO_LIMIT, Page, StreamKeyRepository as _};
use crate::model::{Channel, ChannelId, Endpoints, StreamKey};

/// Rows asked for at once by `list`.
const PAGE_ROWS: u32 = 100;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a channel and its stream key.
    Create {
        #[command(flatten)]
        options: Options,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List all channels, oldest first; stream keys are not shown.
    List {
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a channel, its stream key and its URLs.
    Show {
        /// Id or ARN.
        channel: String,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Change settings; those not named stay as they are. Holds from the next publish on, the part target
    /// from the next stream.
    Set {
        /// Id or ARN.
        channel: String,
        #[command(flatten)]
        options: Options,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Delete a channel and its stream key.
    Delete {
        /// Id or ARN.
        channel: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Name: letters, digits, - and _; need not be unique.
    #[arg(long)]
    name: Option<String>,
    /// Which renditions a source gets: BASIC itself, STANDARD itself and those below it, the ADVANCED types encoded ones only.
    #[arg(long = "type", value_name = "TYPE", value_parser = words(ChannelType::ALL, ChannelType::word))]
    channel_type: Option<ChannelType>,
    /// Stored and echoed; every channel is served with low latency for now.
    #[arg(long, value_name = "MODE", value_parser = words(LatencyMode::ALL, LatencyMode::word))]
    latency_mode: Option<LatencyMode>,
    /// Bit rates of the ADVANCED types.
    #[arg(long, value_parser = words(Preset::ALL, Preset::word))]
    preset: Option<Preset>,
    /// Stored and echoed; playback is fragmented MP4.
    #[arg(long, value_name = "FORMAT", value_parser = words(ContainerFormat::ALL, ContainerFormat::word))]
    container_format: Option<ContainerFormat>,
    /// Whether playback needs a token.
    #[arg(long, value_name = "BOOL")]
    authorized: Option<bool>,
    /// Whether plain RTMP may publish where TLS is required.
    #[arg(long, value_name = "BOOL")]
    insecure_ingest: Option<bool>,
    /// Part target: 334, 500 or 1000 ms; 0 for the server's.
    #[arg(long, value_name = "MS")]
    part_target_ms: Option<u32>,
}

impl From<Options> for Settings {
    fn from(options: Options) -> Self {
        Self {
            name: options.name,
            channel_type: options.channel_type,
            latency_mode: options.latency_mode,
            preset: options.preset,
            container_format: options.container_format,
            is_authorized: options.authorized,
            is_insecure_ingest: options.insecure_ingest,
            part_target_ms: options.part_target_ms,
            ..Self::default()
        }
    }
}

/// A channel as it is shown; names as the IVS API spells them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    #[serde(flatten)]
    links: Links,
    name: String,
    #[serde(rename = "type")]
    channel_type: &'static str,
    latency_mode: &'static str,
    preset: &'static str,
    container_format: &'static str,
    authorized: bool,
    insecure_ingest: bool,
    part_target_ms: Option<u32>,
    create_time: String,
}

impl View {
    fn new(endpoints: &Endpoints, channel: &Channel, key: Option<&StreamKey>) -> Self {
        Self {
            links: Links::new(endpoints, channel, key),
            name: channel.name.clone(),
            channel_type: channel.channel_type.word(),
            latency_mode: channel.latency_mode.word(),
            preset: channel.preset.map(Preset::word).unwrap_or_default(),
            container_format: channel.container_format.word(),
            authorized: channel.is_authorized,
            insecure_ingest: channel.is_insecure_ingest,
            part_target_ms: channel.part_target_ms,
            create_time: channel.created.to_string(),
        }
    }

    fn text(&self) -> String {
        let part_target = self
            .part_target_ms
            .map_or("server's".into(), |ms| format!("{ms} ms"));
        format!(
            "{}\n{}  type          {}\n  latency mode  {}, part target {part_target}\n  \
             container     {}\n  authorized    {}\n  insecure      {}\n  created       {}\n",
            if self.name.is_empty() {
                "(no name)"
            } else {
                &self.name
            },
            self.links,
            [self.channel_type, self.preset].join(" ").trim_end(),
            self.latency_mode,
            self.container_format,
            self.authorized,
            self.insecure_ingest,
            self.create_time,
        )
    }
}

/// Runs a command; the text to print.
pub(super) async fn run(
    command: Command,
    opened: &Opened,
    clock: &dyn Clock,
) -> anyhow::Result<String> {
    let repository = &opened.repository;
    match command {
        Command::Create { options, json } => {
            let now = clock.now();
            let channel = Channel::create(&options.into(), now)?;
            let key = StreamKey::create(&channel.id, opened.endpoints.scope().region(), now);
            repository.create_channel(&channel, &key, NO_LIMIT).await?;
            answer(&View::new(&opened.endpoints, &channel, Some(&key)), json)
        }
        Command::List { json } => list(opened, json).await,
        Command::Show { channel, json } => {
            let channel = find(opened, &channel).await?;
            show(opened, &channel, json).await
        }
        Command::Set {
            channel,
            options,
            json,
        } => {
            let channel = find(opened, &channel).await?.update(&options.into())?;
            repository.save_channel(&channel).await?;
            show(opened, &channel, json).await
        }
        Command::Delete { channel } => {
            let channel = find(opened, &channel).await?;
            repository.delete_channel(&channel.id).await?;
            Ok(format!(
                "deleted {}\n",
                opened.endpoints.scope().channel_arn(&channel.id)
            ))
        }
    }
}

async fn show(opened: &Opened, channel: &Channel, json: bool) -> anyhow::Result<String> {
    let key = opened.repository.stream_key_of(&channel.id).await?;
    answer(&View::new(&opened.endpoints, channel, key.as_ref()), json)
}

async fn list(opened: &Opened, json: bool) -> anyhow::Result<String> {
    let mut channels = Vec::new();
    let mut page = Page {
        after: None,
        limit: PAGE_ROWS,
    };
    loop {
        let rows = opened.repository.list_channels(&page).await?;
        let Some(last) = rows.last() else { break };
        page.after = Some((last.created, last.id.to_string()));
        channels.extend(rows);
    }
    if json {
        let views: Vec<_> = channels
            .iter()
            .map(|channel| View::new(&opened.endpoints, channel, None))
            .collect();
        return to_json(&views);
    }
    let mut text = String::new();
    for Channel {
        id,
        channel_type,
        latency_mode,
        name,
        ..
    } in &channels
    {
        writeln!(text, "{id}  {channel_type:<11}  {latency_mode:<6}  {name}")?;
    }
    Ok(text)
}

async fn find(opened: &Opened, text: &str) -> anyhow::Result<Channel> {
    let missing = || format!("there is no channel {text}; see: weir channel list");
    let id = match text.parse::<Arn>() {
        Ok(arn) if opened.endpoints.scope().holds(&arn) => match arn.resource {
            Resource::Channel(id) => Some(id),
            _ => None,
        },
        Ok(_) => None,
        Err(_) => text.parse::<ChannelId>().ok(),
    };
    let id = id.with_context(missing)?;
    opened
        .repository
        .load_channel(&id)
        .await?
        .with_context(missing)
}

fn answer(view: &View, json: bool) -> anyhow::Result<String> {
    if json { to_json(view) } else { Ok(view.text()) }
}
