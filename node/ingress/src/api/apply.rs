//! `POST /api/v1/apply[?dry_run&prune]`: a configuration file, variables filled in.

use super::{Asking, Problem, Sent};
use actors::administration::{Applied, ApplyFault};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use events::token::Need;
use serde_json::{Value, json};

pub(crate) async fn post(asking: Asking, sent: Sent) -> Response {
    let answer = async {
        let mut ask = asking.ask();
        let (dry_run, prune) = (ask.flag("dry_run"), ask.flag("prune"));
        let need = if matches!(dry_run, Ok(true)) { Need::Read } else { Need::Configure };
        let (access, body) = sent.with(asking.let_in_platform(need).await).await?;
        let (dry_run, prune) = (dry_run?, prune?);
        ask.end()?; // a misspelt `dry_run` must not apply
        let text = std::str::from_utf8(&body).map_err(|_| invalid("the file is not UTF-8"))?;
        // The node's own environment is not the sender's: what is left unfilled is an error.
        let applied = asking.app.administration.apply(text, &|_| None, prune, dry_run, access.principal).await;
        applied.map(|applied| Json(shown(&applied)).into_response()).map_err(|fault| problem(&fault, ""))
    };
    asking.answered(answer).await
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_configuration", detail)
}

fn shown(applied: &Applied) -> Value {
    json!({"position": applied.position.to_string(), "changes": applied.changes, "secrets": applied.secrets})
}

/// With paths as the caller knows them: without the `place` that its part has in the file.
pub(crate) fn problem(fault: &ApplyFault, place: &str) -> Problem {
    match fault {
        ApplyFault::Problems(problems) => {
            let path = |path: &str| path.strip_prefix(place).unwrap_or(path).to_owned();
            let lines: Vec<String> = problems.iter().map(|problem| format!("{}: {}", path(&problem.path), problem.message)).collect();
            let list = problems.iter().map(|problem| json!({"path": path(&problem.path), "message": problem.message})).collect();
            invalid(lines.join("\n")).listing(list)
        }
        ApplyFault::Stopped { done, why } => {
            let detail = format!("after {done} changes: {why}; applying the same file again goes on from there");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "apply_stopped", detail)
        }
    }
}
