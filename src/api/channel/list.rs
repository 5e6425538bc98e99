//! `ListChannels`: in order of creation, all or those that one filter lets through.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Sources;
use crate::api::restjson::{Asked, Code, Error, cut};
use crate::model::repository::Filter;

const LISTING: &str = "channels";
const USUAL: u32 = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::api) struct Input {
    #[serde(flatten)]
    asked: Asked,
    filter_by_name: Option<String>,
    filter_by_recording_configuration_arn: Option<String>,
    filter_by_playback_restriction_policy_arn: Option<String>,
    filter_by_ad_configuration_arn: Option<String>,
    filter_by_failover_slate_configuration_arn: Option<String>,
}

impl Input {
    /// The one filter, if there is any; empty text filters nothing.
    fn filter(&self) -> Result<Option<Filter>, Error> {
        let filter = |text: &Option<String>, make: fn(String) -> Filter| {
            text.clone().filter(|text| !text.is_empty()).map(make)
        };
        let filters = [
            filter(&self.filter_by_name, Filter::Name),
            filter(
                &self.filter_by_recording_configuration_arn,
                Filter::RecordingConfiguration,
            ),
            filter(
                &self.filter_by_playback_restriction_policy_arn,
                Filter::PlaybackRestrictionPolicy,
            ),
            filter(
                &self.filter_by_ad_configuration_arn,
                Filter::AdConfiguration,
            ),
            filter(
                &self.filter_by_failover_slate_configuration_arn,
                Filter::FailoverSlateConfiguration,
            ),
        ];
        let mut filters = filters.into_iter().flatten();
        match (filters.next(), filters.next()) {
            (filter, None) => Ok(filter),
            _ => Err(Error::new(
                Code::Conflict,
                "only one filter may be used at a time",
            )),
        }
    }
}

pub(in crate::api) async fn run(sources: &Sources, input: Input) -> Result<Value, Error> {
    let page = input.asked.page(LISTING, USUAL)?;
    let mut rows = match input.filter()? {
        None => sources.repository.list_channels(&page).await?,
        Some(filter) => sources.repository.filter_channels(&filter, &page).await?,
    };
    let next = cut(LISTING, &page, &mut rows, |c| (c.created, c.id.to_string()));
    let channels: Vec<_> = rows
        .iter()
        .map(|row| super::summary(sources, row))
        .collect();
    Ok(json!({"channels": channels, "nextToken": next}))
}
