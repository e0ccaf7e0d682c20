//! OpenAI embeddings: unit vectors that depend on the text alone.

use std::hash::{DefaultHasher, Hasher};

use serde_json::{Value, json};

use crate::input::items;
use crate::plan::Plan;
use crate::usage::Said;

/// Most inputs of one request, as OpenAI has it.
const INPUTS_MAX: usize = 2_048;

/// The answer.
pub(crate) fn answer(plan: &Plan<'_>) -> Value {
    let body = &plan.input.body;
    let dimensions = body.get("dimensions").and_then(Value::as_u64).unwrap_or(plan.wishes.dimensions).clamp(1, 4_096) as usize;
    let base64_wanted = body.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let embed = |(index, input): (usize, &Value)| {
        let vector = vector(&input.to_string(), dimensions);
        let embedding = if base64_wanted { base64(&bytes(&vector)).into() } else { json!(vector) };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    };
    let data: Vec<Value> = inputs(body.get("input")).into_iter().take(INPUTS_MAX).enumerate().map(embed).collect();
    let mut out = json!({"object": "list", "data": data, "model": plan.input.model});
    match plan.usage.said(plan.wishes.usage) {
        Said::Nothing => {}
        Said::Null => out["usage"] = Value::Null,
        Said::Figures(figures) => out["usage"] = figures.embeddings(),
    }
    out
}

fn inputs(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Array(list)) if items(value) == list.len() as u64 && !list.iter().any(Value::is_number) => list.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

/// A vector of length 1.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    let mut state = hasher.finish() | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    let raw: Vec<f32> = (0..dimensions).map(|_| next()).collect();
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.iter().map(|x| x / length).collect()
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (i, byte)| bits | u32::from(*byte) << (16 - 8 * i));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize] as char;
            out.push(if place <= group.len() { digit } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_standard() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn vectors_have_length_one_and_depend_on_the_text() {
        let (a, b) = (vector("a", 64), vector("b", 64));
        assert!((a.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4);
        assert_ne!(a, b);
        assert_eq!(a, vector("a", 64));
    }
}
