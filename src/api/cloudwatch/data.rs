//! `GetMetricData` and `GetMetricStatistics`: statistics of what was measured.
//!
//! Nothing is known of a metric that there is not: that is no error, as in Amazon's. Expressions and percentiles
//! are refused.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::Error;
use super::list::{NAMESPACE, seal, unseal};
use crate::live::measures::{Measures, Metric, Of, Statistics};

/// Most queries in a request.
const MAX_QUERIES: usize = 500;
/// Most values in an answer.
const MAX_VALUES: usize = 100_800;
/// Longest time, in seconds since 1970, that is asked for: the year 9999.
const MAX_TIME: f64 = 253_402_300_799.0;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Id {
    namespace: Option<String>,
    metric_name: Option<String>,
    dimensions: Option<Vec<Dimension>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension {
    name: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DataInput {
    #[serde(default)]
    metric_data_queries: Vec<Query>,
    start_time: Option<f64>,
    end_time: Option<f64>,
    next_token: Option<String>,
    scan_by: Option<String>,
    max_datapoints: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Query {
    id: String,
    metric_stat: Option<MetricStat>,
    expression: Option<String>,
    label: Option<String>,
    return_data: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricStat {
    #[serde(default)]
    metric: Id,
    period: i64,
    stat: String,
    unit: Option<String>,
}

/// A query that was checked: its period, and which statistic.
struct Asked<'a> {
    query: &'a Query,
    stat: &'a MetricStat,
    value: fn(&Statistics) -> f64,
}

pub(super) fn get(measures: &Measures, input: &DataInput) -> Result<Value, Error> {
    let range = range(input.start_time, input.end_time)?;
    let asked = check(&input.metric_data_queries)?;
    let is_descending = match input.scan_by.as_deref() {
        None | Some("TimestampDescending") => true,
        Some("TimestampAscending") => false,
        Some(_) => {
            let words = "ScanBy must be TimestampDescending or TimestampAscending";
            return Err(Error::validation(words));
        }
    };
    let most = input.max_datapoints.unwrap_or(MAX_VALUES);
    if !(1..=MAX_VALUES).contains(&most) {
        let words = format!("MaxDatapoints must be 1 to {MAX_VALUES}");
        return Err(Error::validation(words));
    }
    let (first, mut after) = match &input.next_token {
        Some(token) => place(token)?,
        None => (0, None),
    };
    let (mut results, mut next, mut left) = (Vec::new(), None, most);
    let returned = asked.iter().enumerate().skip(first);
    for (n, asked) in returned.filter(|(_, asked)| asked.query.return_data != Some(false)) {
        let mut points = points(measures, &asked.stat.metric, asked.stat, range);
        if is_descending {
            points.reverse();
        }
        if let Some(after) = after.take().filter(|_| n == first) {
            points.retain(|(at, _)| {
                if is_descending {
                    *at < after
                } else {
                    *at > after
                }
            });
        }
        let is_cut = points.len() > left;
        points.truncate(left);
        left -= points.len();
        let last = points.last().map(|(at, _)| *at);
        results.push(json!({
            "Id": asked.query.id,
            "Label": asked.query.label.as_ref().or(asked.stat.metric.metric_name.as_ref()),
            "Timestamps": points.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            "Values": points.iter().map(|(_, s)| (asked.value)(s)).collect::<Vec<_>>(),
            "StatusCode": if is_cut { "PartialData" } else { "Complete" },
        }));
        if is_cut {
            // Without a place the query was not begun.
            let last = last.map(|at| at.to_string()).unwrap_or_default();
            next = Some(seal(&format!("{n} {last}")));
            break;
        }
    }
    let mut output = json!({"MetricDataResults": results, "Messages": []});
    if let Some(next) = next {
        output["NextToken"] = json!(next);
    }
    Ok(output)
}

/// Which query to go on with, and after which of its values.
fn place(token: &str) -> Result<(usize, Option<i64>), Error> {
    let text = unseal(token)?;
    let (n, at) = text.split_once(' ').ok_or_else(Error::token)?;
    let at = (!at.is_empty()).then(|| at.parse()).transpose();
    let n = n.parse().map_err(|_| Error::token())?;
    Ok((n, at.map_err(|_| Error::token())?))
}

fn check(queries: &[Query]) -> Result<Vec<Asked<'_>>, Error> {
    if !(1..=MAX_QUERIES).contains(&queries.len()) {
        let words = format!("MetricDataQueries must have 1 to {MAX_QUERIES} members");
        return Err(Error::validation(words));
    }
    let mut ids = HashSet::new();
    queries
        .iter()
        .map(|query| check_query(query, &mut ids))
        .collect()
}

fn check_query<'a>(query: &'a Query, ids: &mut HashSet<&'a str>) -> Result<Asked<'a>, Error> {
    let Query { id, .. } = query;
    let is_id = id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && id.len() <= 255;
    if !is_id || !ids.insert(id) {
        let words = format!(
            "The value {id:?} for Id is not valid: each begins with a lower-case letter, has letters, digits \
             and underscores, and is there once"
        );
        return Err(Error::validation(words));
    }
    let Some(stat) = query
        .metric_stat
        .as_ref()
        .filter(|_| query.expression.is_none())
    else {
        let words = format!("query {id}: this server knows MetricStat only, no Expression");
        return Err(Error::validation(words));
    };
    check_period(stat.period).map_err(Error::validation)?;
    let value = statistic(&stat.stat).ok_or_else(|| {
        let words = "Stat must be Average, Sum, Maximum, Minimum or SampleCount";
        Error::validation(words)
    })?;
    if stat.metric.namespace.is_none() || stat.metric.metric_name.is_none() {
        let words = format!("query {id}: Metric must have Namespace and MetricName");
        return Err(Error::validation(words));
    }
    Ok(Asked { query, stat, value })
}

fn check_period(period: i64) -> Result<(), &'static str> {
    let is_short = [1, 5, 10, 20, 30].contains(&period);
    let is_whole = (60..=86_400).contains(&period) && period % 60 == 0;
    let words = "Period must be 1, 5, 10, 20, 30 or a multiple of 60 up to 86400";
    (is_short || is_whole).then_some(()).ok_or(words)
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn range(start: Option<f64>, end: Option<f64>) -> Result<(i64, i64), Error> {
    let (Some(start), Some(end)) = (start, end) else {
        return Err(Error::missing("StartTime and EndTime are required"));
    };
    let is_time = |at: f64| (0.0..=MAX_TIME).contains(&at);
    if !is_time(start) || !is_time(end) || start >= end {
        let words = "StartTime must be less than EndTime";
        return Err(Error::validation(words));
    }
    Ok((start.floor() as i64, end.ceil() as i64))
}

fn statistic(name: &str) -> Option<fn(&Statistics) -> f64> {
    Some(match name {
        "Average" => |s| s.sum / f64::from(s.count.max(1)),
        "Sum" => |s| s.sum,
        "Maximum" => |s| s.max,
        "Minimum" => |s| s.min,
        "SampleCount" => |s| f64::from(s.count),
        _ => return None,
    })
}

/// The series that is meant, if there is one.
fn key(measures: &Measures, id: &Id) -> Option<(Metric, Of)> {
    if id.namespace.as_deref() != Some(NAMESPACE) {
        return None;
    }
    let dimension = match id.dimensions.as_deref().unwrap_or_default() {
        [] => None,
        [one] => Some((&*one.name, &*one.value)),
        _ => return None,
    };
    let is_meant = |(metric, of): &(Metric, Of)| {
        of.dimension() == dimension && id.metric_name.as_deref() == Some(&metric.name())
    };
    measures.keys().into_iter().find(is_meant)
}

fn points(
    measures: &Measures,
    id: &Id,
    stat: &MetricStat,
    range: (i64, i64),
) -> Vec<(i64, Statistics)> {
    let key = key(measures, id);
    let key = key.filter(|(metric, _)| stat.unit.as_deref().is_none_or(|it| it == metric.unit()));
    key.map_or_else(Vec::new, |key| {
        measures.statistics(&key, range, stat.period)
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StatisticsInput {
    #[serde(flatten)]
    metric: Id,
    start_time: Option<f64>,
    end_time: Option<f64>,
    period: Option<i64>,
    #[serde(default)]
    statistics: Vec<String>,
    #[serde(default)]
    extended_statistics: Vec<String>,
    unit: Option<String>,
}

pub(super) fn get_statistics(measures: &Measures, input: &StatisticsInput) -> Result<Value, Error> {
    let range = range(input.start_time, input.end_time)?;
    let period = input
        .period
        .ok_or_else(|| Error::missing("Period is required"))?;
    check_period(period).map_err(Error::invalid)?;
    if input.metric.namespace.is_none() || input.metric.metric_name.is_none() {
        return Err(Error::missing("Namespace and MetricName are required"));
    }
    if !input.extended_statistics.is_empty() {
        return Err(Error::invalid("this server knows no ExtendedStatistics"));
    }
    if input.statistics.is_empty() {
        return Err(Error::missing("Statistics are required"));
    }
    let mut wanted = Vec::new();
    for name in &input.statistics {
        let value = statistic(name).ok_or_else(|| {
            Error::invalid("Statistics must be Average, Sum, Maximum, Minimum or SampleCount")
        })?;
        wanted.push((name.clone(), value));
    }
    let key = key(measures, &input.metric);
    let key = key.filter(|(metric, _)| input.unit.as_deref().is_none_or(|it| it == metric.unit()));
    let points = key.map(|key| (key.0.unit(), measures.statistics(&key, range, period)));
    let (unit, points) = points.unwrap_or_default();
    let point = |(at, statistics): &(i64, Statistics)| {
        let values = wanted
            .iter()
            .map(|(name, value)| (name.clone(), json!(value(statistics))));
        let mut point: Map<_, _> = values.collect();
        point.insert("Timestamp".to_owned(), json!(at));
        point.insert("Unit".to_owned(), json!(unit));
        point
    };
    let points: Vec<_> = points.iter().map(point).collect();
    Ok(json!({"Label": input.metric.metric_name, "Datapoints": points}))
}
