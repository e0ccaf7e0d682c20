//! `GET /api/v1/events?from=0&limit=1000`: the history as CloudEvents, JSON Lines. A tenant's token sees its tenant's.

use super::{Access, Asking, Problem, page::NEXT};
use crate::App;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use events::{Position, cloudevent, envelope::Recorded, token::Need};

const EVENTS: u64 = 1_000;
const EVENTS_MAX: u64 = 10_000;
/// Events that are rendered in one look at the state, so that the core thread is not kept.
const EVENTS_A_LOOK: usize = 200;

pub(crate) async fn list(asking: Asking) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Read).await?;
        let mut ask = asking.ask();
        let from = ask.position("from")?.unwrap_or(0);
        // more is no mistake: whoever follows asks for much
        let limit = ask.number("limit", 1, u64::MAX)?.unwrap_or(EVENTS).min(EVENTS_MAX);
        ask.end()?;
        let (text, next) = lines(&asking.app, &access, from, limit as usize)
            .await
            .map_err(|why| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "history_unreadable", why))?;
        let mut response = ([(header::CONTENT_TYPE, "application/jsonl")], text).into_response();
        // what others' events leave out is no end
        if let Some(next) = next.and_then(|next| HeaderValue::try_from(Position::new(next).to_string()).ok()) {
            response.headers_mut().insert(NEXT, next);
        }
        Ok(response)
    };
    asking.answered(answer).await
}

/// The events, and where those behind them begin, if any was read.
async fn lines(app: &App, access: &Access, from: u64, limit: usize) -> Result<(String, Option<u64>), String> {
    let core = &app.reactor.core;
    let stopping = || "this node is stopping".to_owned();
    let journal = core.journal.clone();
    let records: Vec<Recorded> =
        core.run(move |_| async move { journal.read(from, limit).await }).await.ok_or_else(stopping)?.map_err(|fault| fault.to_string())?;
    let next = records.last().map(|last| last.envelope.n + 1);
    let mut text = String::new();
    let mut rest = records;
    while !rest.is_empty() {
        let later = rest.split_off(rest.len().min(EVENTS_A_LOOK));
        let (cluster, access) = (core.cluster.clone(), access.clone());
        let part = core.look(move |state| {
            let seen = rest.iter().filter(|record| access.sees(state.tenant_of_record(record)));
            seen.map(|record| format!("{}\n", cloudevent::render(record, state, &cluster))).collect::<String>()
        });
        text.push_str(&part.await.ok_or_else(stopping)?);
        rest = later;
    }
    Ok((text, next))
}
