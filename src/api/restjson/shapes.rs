//! The operations and the shapes of their inputs: the one source of what a request may hold.
//!
//! In:  inputs without nulls; `ivs.json`, derived from the service model that the AWS SDKs are made of (botocore's
//! `service-2.json`), with IVS's quotas of calls per second. Out: [`Model`]: which operation a request is for, and
//! every constraint that its input breaks.
//! Not here: rules that join members (`model`). `tests/it/api/` compares all of it with botocore's own model.

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::clock::WallTime;

/// Violations told at once.
const MAX_VIOLATIONS: usize = 10;
/// What the path of the operations on tags begins with.
pub(super) const TAGS: &str = "/tags/";

/// The API of IVS.
pub(super) static IVS: LazyLock<Model> = LazyLock::new(|| {
    serde_json::from_str(include_str!("ivs.json")).expect("the tests have read this very text")
});

/// A service.
#[derive(Debug, Deserialize)]
pub(super) struct Model {
    pub(super) operations: BTreeMap<String, Operation>,
    shapes: BTreeMap<String, Shape>,
}

/// An operation.
#[derive(Debug, Deserialize)]
pub(super) struct Operation {
    method: String,
    pub(super) uri: String,
    /// Of success.
    pub(super) status: u16,
    /// Its input's shape.
    input: String,
    /// The kind of resource, as ARNs have it, that it makes or lists.
    pub(super) resource: String,
    /// Calls per second.
    pub(super) tps: u32,
}

/// A type and its constraints; which of them it has depends on the type.
#[derive(Debug, Deserialize)]
struct Shape {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    members: BTreeMap<String, String>,
    member: Option<String>,
    key: Option<String>,
    value: Option<String>,
    min: Option<i64>,
    max: Option<i64>,
    pattern: Option<String>,
    #[serde(rename = "enum")]
    words: Option<Vec<String>>,
    #[serde(skip)]
    regex: OnceLock<Regex>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Structure,
    List,
    Map,
    String,
    Integer,
    Long,
    Boolean,
    Timestamp,
}

/// What was found in an input.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Every constraint that is broken, naming the member; the first [`MAX_VIOLATIONS`].
    pub(super) violations: Vec<String>,
    /// The resources that the input names.
    pub(super) arns: Vec<String>,
    /// Whether anything may stand for an ARN.
    is_lenient: bool,
}

impl Findings {
    fn tell(&mut self, path: &str, rule: &str) {
        if self.violations.len() < MAX_VIOLATIONS {
            let words =
                format!("Value at '{path}' failed to satisfy constraint: Member must {rule}");
            self.violations.push(words);
        }
    }

    /// All violations as one message; none without any.
    pub(super) fn message(&self) -> Option<String> {
        let count = self.violations.len();
        let plural = if count == 1 { "" } else { "s" };
        let list = self.violations.join("; ");
        (count > 0).then(|| format!("{count} validation error{plural} detected: {list}"))
    }
}

impl Model {
    /// The operation that a request is for, by its method and its undecoded path.
    pub(super) fn route(&self, method: &str, path: &str) -> Option<(&str, &Operation)> {
        let on_tags = path.starts_with(TAGS);
        let is_it = |operation: &Operation| {
            let is_path = if on_tags {
                operation.uri.starts_with(TAGS)
            } else {
                operation.uri == path
            };
            is_path && operation.method == method
        };
        let mut operations = self.operations.iter();
        let (name, operation) = operations.find(|(_, operation)| is_it(operation))?;
        Some((name.as_str(), operation))
    }

    /// Looks through the input of an operation.
    pub(super) fn check(&self, operation: &Operation, input: &Value, is_lenient: bool) -> Findings {
        let mut findings = Findings {
            is_lenient,
            ..Findings::default()
        };
        self.walk(&operation.input, input, "", &mut findings);
        findings
    }

    fn walk(&self, name: &str, value: &Value, path: &str, found: &mut Findings) {
        let Some(shape) = self.shapes.get(name) else {
            return;
        };
        match (shape.kind, value) {
            (Kind::Structure, Value::Object(members)) => {
                self.walk_members(shape, members, path, found);
            }
            (Kind::List, Value::Array(items)) => {
                if shape.is_sized(items.len(), path, found) {
                    for (index, item) in items.iter().enumerate() {
                        let path = format!("{path}[{index}]");
                        self.walk_optional(shape.member.as_deref(), item, &path, found);
                    }
                }
            }
            (Kind::Map, Value::Object(entries)) => {
                if shape.is_sized(entries.len(), path, found) {
                    for (key, value) in entries {
                        let path = format!("{path}.{key}");
                        let key = Value::String(key.clone());
                        self.walk_optional(shape.key.as_deref(), &key, &path, found);
                        self.walk_optional(shape.value.as_deref(), value, &path, found);
                    }
                }
            }
            (Kind::String, Value::String(text)) => shape.check_text(name, text, path, found),
            (Kind::Integer | Kind::Long, Value::Number(number)) => {
                shape.check_number(number.as_i64(), path, found);
            }
            (Kind::Boolean, Value::Bool(_)) => {}
            (Kind::Timestamp, Value::String(text)) if text.parse::<WallTime>().is_ok() => {}
            (kind, _) => found.tell(path, kind.demand()),
        }
    }

    fn walk_members(
        &self,
        shape: &Shape,
        members: &Map<String, Value>,
        path: &str,
        found: &mut Findings,
    ) {
        let below = |name: &str| match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        for name in &shape.required {
            if !members.contains_key(name) {
                found.tell(&below(name), "not be null");
            }
        }
        for (name, member) in &shape.members {
            if let Some(value) = members.get(name) {
                self.walk(member, value, &below(name), found);
            }
        }
    }

    fn walk_optional(&self, name: Option<&str>, value: &Value, path: &str, found: &mut Findings) {
        if let Some(name) = name {
            self.walk(name, value, path, found);
        }
    }
}

impl Kind {
    fn demand(self) -> &'static str {
        match self {
            Self::Structure | Self::Map => "be an object",
            Self::List => "be a list",
            Self::String => "be a string",
            Self::Integer | Self::Long => "be an integer",
            Self::Boolean => "be a boolean",
            Self::Timestamp => "be a timestamp of ISO 8601",
        }
    }
}

impl Shape {
    /// Whether so many elements or characters may be; what is too long is not looked at further.
    fn is_sized(&self, length: usize, path: &str, found: &mut Findings) -> bool {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        if let Some(min) = self.min.filter(|min| length < *min) {
            found.tell(path, &format!("have length greater than or equal to {min}"));
        }
        let excess = self.max.filter(|max| length > *max);
        if let Some(max) = excess {
            found.tell(path, &format!("have length less than or equal to {max}"));
        }
        excess.is_none()
    }

    fn check_text(&self, name: &str, text: &str, path: &str, found: &mut Findings) {
        let is_arn = name.ends_with("Arn");
        if is_arn && !text.is_empty() && !name.starts_with("MediaTailor") {
            found.arns.push(text.to_owned());
        }
        if let Some(words) = &self.words
            && !words.iter().any(|word| word == text)
        {
            let words = words.join(", ");
            found.tell(path, &format!("satisfy enum value set: [{words}]"));
        }
        if !self.is_sized(text.chars().count(), path, found) || (is_arn && found.is_lenient) {
            return;
        }
        if let Some(pattern) = &self.pattern
            && !self.regex(pattern).is_match(text)
        {
            found.tell(
                path,
                &format!("satisfy regular expression pattern: {pattern}"),
            );
        }
    }

    fn check_number(&self, number: Option<i64>, path: &str, found: &mut Findings) {
        let (least, most) = match self.kind {
            Kind::Integer => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        let Some(number) = number else {
            return found.tell(path, self.kind.demand());
        };
        let (min, max) = (self.min.unwrap_or(least), self.max.unwrap_or(most));
        if number < min {
            found.tell(path, &format!("have value greater than or equal to {min}"));
        }
        if number > max {
            found.tell(path, &format!("have value less than or equal to {max}"));
        }
    }

    fn regex(&self, pattern: &str) -> &Regex {
        self.regex.get_or_init(|| {
            Regex::new(&format!("^(?:{pattern})$")).expect("the tests have compiled every pattern")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(operation: &str, input: &Value) -> Option<String> {
        IVS.check(&IVS.operations[operation], input, false)
            .message()
    }

    #[test]
    fn every_shape_is_whole() {
        assert_eq!(IVS.operations.len(), 46);
        for operation in IVS.operations.values() {
            assert!(IVS.shapes.contains_key(&operation.input), "{operation:?}");
        }
        for (name, shape) in &IVS.shapes {
            let nested = [&shape.member, &shape.key, &shape.value];
            let mut used = shape.members.values().chain(nested.into_iter().flatten());
            assert!(used.all(|used| IVS.shapes.contains_key(used)), "{name}");
            if let Some(pattern) = &shape.pattern {
                shape.regex(pattern);
            }
        }
    }

    #[test]
    fn requests_find_their_operation() {
        let name = |method, path| IVS.route(method, path).map(|(name, _)| name);
        assert_eq!(name("POST", "/CreateChannel"), Some("CreateChannel"));
        assert_eq!(name("GET", "/CreateChannel"), None);
        assert_eq!(name("POST", "/CreateChannel/"), None);
        for (method, expected) in [
            ("GET", "ListTagsForResource"),
            ("POST", "TagResource"),
            ("DELETE", "UntagResource"),
        ] {
            assert_eq!(name(method, "/tags/arn%3Aaws"), Some(expected));
        }
    }

    #[test]
    fn violations_name_the_member_and_the_rule() {
        assert_eq!(message("CreateChannel", &json!({"unknown": 1})), None);
        let several = json!({
            "name": "a b", "type": "standard", "authorized": "yes", "tags": {"": "v"},
            "multitrackInputConfiguration": {"policy": 1},
        });
        insta::assert_snapshot!(message("CreateChannel", &several).unwrap().replace("; ", "\n"), @r"
        6 validation errors detected: Value at 'authorized' failed to satisfy constraint: Member must be a boolean
        Value at 'multitrackInputConfiguration.policy' failed to satisfy constraint: Member must be a string
        Value at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9-_]*
        Value at 'tags.' failed to satisfy constraint: Member must have length greater than or equal to 1
        Value at 'tags.' failed to satisfy constraint: Member must satisfy regular expression pattern: ([\p{L}\p{Z}\p{N}_.:/=+\-@]+)
        Value at 'type' failed to satisfy constraint: Member must satisfy enum value set: [BASIC, STANDARD, ADVANCED_SD, ADVANCED_HD]
        ");
    }

    #[test]
    fn numbers_lists_and_times_are_bounded() {
        let arn = "arn:aws:ivs:us-east-1:000000000000:channel/abcdABCDefgh";
        let ad_break = |duration: Value, at: &str| json!({"channelArn": arn, "durationSeconds": duration, "targetStartAt": at});
        let now = "2026-11-26T00:00:00Z";
        assert_eq!(message("InsertAdBreak", &ad_break(json!(300), now)), None);
        for (duration, at) in [
            (json!(301), now),
            (json!(0), now),
            (json!(1.5), now),
            (json!("1"), now),
            (json!(1), "tomorrow"),
        ] {
            let told = message("InsertAdBreak", &ad_break(duration.clone(), at));
            assert!(told.is_some(), "{duration} {at}");
        }
        let many = json!({"arns": vec![arn; 51]});
        let told = message("BatchGetChannel", &many).unwrap();
        assert!(
            told.contains("'arns' failed") && told.contains("less than or equal to 50"),
            "{told}"
        );
        assert!(message("BatchGetChannel", &json!({"arns": [null]})).is_some());
        assert!(
            message("BatchGetChannel", &json!({}))
                .unwrap()
                .contains("'arns'")
        );
    }

    #[test]
    fn the_arns_of_an_input_are_found_and_may_be_anything_if_so_configured() {
        let input = json!({"arn": "nope", "recordingConfigurationArn": ""});
        let operation = &IVS.operations["UpdateChannel"];
        assert_eq!(IVS.check(operation, &input, false).violations.len(), 1);
        let lenient = IVS.check(operation, &input, true);
        assert_eq!(
            (lenient.message(), lenient.arns),
            (None, vec!["nope".to_owned()])
        );
    }
}
