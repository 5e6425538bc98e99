//! AMF0 payloads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::ingest::amf0::{self, MAX_DEPTH, MAX_VALUES, Value};

fuzz_target!(|data: &[u8]| {
    let Ok(values) = amf0::parse(data) else {
        return;
    };
    let (count, depth) = values
        .iter()
        .map(measure)
        .fold((0, 0), |a, b| (a.0 + b.0, a.1.max(b.1)));
    assert!(
        count <= MAX_VALUES && depth <= MAX_DEPTH + 1,
        "{count} values, {depth} deep"
    );
});

/// Number of values and depth.
fn measure(value: &Value) -> (usize, usize) {
    let inner: Vec<(usize, usize)> = match value {
        Value::Object(properties) => properties.iter().map(|(_, value)| measure(value)).collect(),
        Value::Array(values) => values.iter().map(measure).collect(),
        _ => vec![],
    };
    inner
        .into_iter()
        .fold((1, 1), |all, one| (all.0 + one.0, all.1.max(one.1 + 1)))
}
