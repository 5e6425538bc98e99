//! `ListMetrics`: whose metrics are known of the last three hours.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Error;
use crate::live::measures::{Measures, Metric, Of};

/// The one namespace there is.
pub(super) const NAMESPACE: &str = "AWS/IVS";
/// Metrics in an answer.
const PAGE: usize = 500;
/// Most filters.
const MAX_FILTERS: usize = 10;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Input {
    namespace: Option<String>,
    metric_name: Option<String>,
    dimensions: Option<Vec<Filter>>,
    next_token: Option<String>,
    recently_active: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    name: String,
    value: Option<String>,
}

pub(super) fn run(measures: &Measures, input: &Input) -> Result<Value, Error> {
    let filters = input.dimensions.as_deref().unwrap_or_default();
    if filters.len() > MAX_FILTERS {
        let words = format!("Dimensions may have {MAX_FILTERS} members");
        return Err(Error::invalid(words));
    }
    if input
        .recently_active
        .as_deref()
        .is_some_and(|it| it != "PT3H")
    {
        return Err(Error::invalid("RecentlyActive must be PT3H"));
    }
    let after = input.next_token.as_ref().map(|token| unseal(token));
    let after = after.transpose()?;
    let is_wanted = |(metric, of): &(Metric, Of)| {
        let is_of = |filter: &Filter| {
            of.dimension().is_some_and(|(name, value)| {
                filter.name == name && filter.value.as_deref().is_none_or(|it| it == value)
            })
        };
        input.namespace.as_deref().is_none_or(|it| it == NAMESPACE)
            && input
                .metric_name
                .as_deref()
                .is_none_or(|it| it == metric.name())
            && filters.iter().all(is_of)
    };
    let wanted = measures.keys().into_iter().filter(is_wanted);
    let mut rows: Vec<_> = wanted.map(|key| (place(&key), key)).collect();
    rows.sort();
    rows.retain(|(place, _)| after.as_ref().is_none_or(|after| place > after));
    let next = rows.get(PAGE - 1).filter(|_| rows.len() > PAGE);
    let next = next.map(|(place, _)| seal(place));
    let rows = rows.iter().take(PAGE);
    let metrics: Vec<_> = rows.map(|(_, key)| describe(key)).collect();
    let mut output = json!({"Metrics": metrics});
    if let Some(next) = next {
        output["NextToken"] = json!(next);
    }
    Ok(output)
}

fn describe((metric, of): &(Metric, Of)) -> Value {
    let dimensions = of.dimension().into_iter();
    let dimensions = dimensions.map(|(name, value)| json!({"Name": name, "Value": value}));
    json!({
        "Namespace": NAMESPACE,
        "MetricName": metric.name(),
        "Dimensions": dimensions.collect::<Vec<_>>(),
    })
}

/// Where a metric stands in the listing.
fn place((metric, of): &(Metric, Of)) -> String {
    format!("{} {of}", metric.name())
}

/// A token that names a place.
pub(super) fn seal(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// The place that a token names.
pub(super) fn unseal(token: &str) -> Result<String, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::token())?;
    String::from_utf8(bytes).map_err(|_| Error::token())
}
