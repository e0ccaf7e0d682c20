//! The recorded traffic, where it lies beside the repository.

use dialects::Endpoint;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

pub static ROWS: LazyLock<Vec<Value>> = LazyLock::new(load);

fn load() -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/recordings/dev.jsonl.xz");
    if !path.exists() {
        println!("skipped: ../shared/recordings/dev.jsonl.xz not present");
        return Vec::new();
    }
    let script = "import lzma,sys; sys.stdout.buffer.write(lzma.open(sys.argv[1]).read())";
    let unpacked = Command::new("xz").arg("-dc").arg(&path).output().ok().filter(|output| output.status.success());
    let output = unpacked.unwrap_or_else(|| Command::new("python3").args(["-c", script]).arg(&path).output().expect("xz or python3"));
    let rows: Vec<Value> =
        String::from_utf8(output.stdout).expect("UTF-8").lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert!(rows.len() > 1_000, "only {} rows", rows.len());
    rows
}

pub fn endpoint(row: &Value) -> Option<Endpoint> {
    match row["dialect"].as_str()? {
        "openai-chat" => Some(Endpoint::ChatCompletions),
        "openai-completions" => Some(Endpoint::Completions),
        "openai-responses" => Some(Endpoint::Responses),
        "embeddings-openai" => Some(Endpoint::Embeddings),
        "anthropic-messages" => Some(Endpoint::Messages),
        "tokens-anthropic" => Some(Endpoint::CountTokens),
        _ => None,
    }
}
