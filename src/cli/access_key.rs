//! `weir access-key …`: the keys that programs sign with, besides the first one.

use std::fmt::Write as _;

use clap::Subcommand;
use serde::Serialize;

use super::{to_json, words};
use crate::app::open::Opened;
use crate::base::clock::Clock;
use crate::model::AccessKey;
use crate::model::access_key::Role;
use crate::model::repository::AccessKeyRepository as _;

/// Keys shown at most.
const MAX_LISTED: u32 = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key and show it, secret included, in the format of AWS's credentials file.
    Create {
        /// What it may: admin everything, read-only what changes nothing and tells no secret, chat the chat service.
        #[arg(long, default_value = Role::Admin.word(), value_parser = words(Role::ALL, Role::word))]
        role: Role,
        /// Only for resources whose ARN begins so.
        #[arg(long, value_name = "ARN", default_value = "")]
        arn_prefix: String,
        /// Expires after so many hours; the key has a session token then.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=87_600))]
        hours: Option<u32>,
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the keys that were made, oldest first, without their secrets.
    List {
        /// Answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Delete a key; a running server lets it in for five seconds more at most.
    Delete {
        /// Its id.
        id: String,
    },
}

/// A key as it is shown; names as AWS spells them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    access_key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_access_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
    role: &'static str,
    arn_prefix: String,
    create_time: String,
    expiration: Option<String>,
}

impl View {
    fn new(key: AccessKey, with_secrets: bool) -> Self {
        let (token, expires) = key.session.map(|s| (s.token, s.expires)).unzip();
        Self {
            access_key_id: key.id,
            secret_access_key: with_secrets.then_some(key.secret),
            session_token: token.filter(|_| with_secrets),
            role: key.role.word(),
            arn_prefix: key.arn_prefix,
            create_time: key.created.to_string(),
            expiration: expires.map(|at| at.to_string()),
        }
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
        Command::Create {
            role,
            arn_prefix,
            hours,
            json,
        } => {
            let now = clock.now();
            let expires = hours.map(|hours| now.plus_millis(i64::from(hours) * 3_600_000));
            let key = AccessKey::create(role, &arn_prefix, expires, now);
            repository.create_access_key(&key).await?;
            if json {
                return to_json(&View::new(key, true));
            }
            let mut text = format!(
                "[{}]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
                key.id, key.id, key.secret
            );
            if let Some(session) = key.session {
                writeln!(text, "aws_session_token = {}", session.token)?;
            }
            Ok(text)
        }
        Command::List { json } => {
            let keys = repository.list_access_keys(MAX_LISTED).await?;
            let views: Vec<_> = keys.into_iter().map(|key| View::new(key, false)).collect();
            if json {
                return to_json(&views);
            }
            let mut text = String::new();
            for view in views {
                let until = view.expiration.unwrap_or_else(|| "-".to_owned());
                let prefix = view.arn_prefix;
                writeln!(
                    text,
                    "{}  {:<9}  {until:<24}  {prefix}",
                    view.access_key_id, view.role
                )?;
            }
            Ok(text)
        }
        Command::Delete { id } => {
            repository.delete_access_key(&id).await?;
            Ok(format!("deleted {id}\n"))
        }
    }
}
