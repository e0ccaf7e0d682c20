//! `GET /api/v1/providers/health`: how providers did, by their names of models and by hour if asked.

use super::{
    FromApp, Params, answered,
    ask::Ask,
    chosen::Chosen,
    let_in, naming,
    page::{Page, Wanted},
    read, unreadable,
};
use ::projections::{
    World,
    providers::{Group, Health, Histogram, Query},
};
use axum::{
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use events::{Every, Position, ProviderId, token::Need};
use serde_json::{Map, Value, json};
use std::time::Duration;

const SINCE: Duration = Duration::from_secs(24 * 3_600);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Model,
    Hour,
}

/// `GET /api/v1/providers/health`.
pub(crate) async fn health(
    State(app): FromApp,
    axum::extract::Query(given): Params,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let now = app.reactor.core.clock.now();
    let answer = async {
        let access = let_in(&app, &headers, Need::Read, &method, &uri).await?;
        access.of_platform()?; // their figures are of all tenants together
        let mut ask = Ask::new(given);
        let at_least = ask.at_least()?;
        let (from, until) = ask.range(now.plus(Duration::from_secs(3_600)), now.minus(SINCE))?;
        let by = ask.words("group_by", &[("model", By::Model), ("hour", By::Hour)])?;
        let (chosen, wanted) = (Chosen::read_provider(&mut ask), Wanted::read(&mut ask, &headers)?);
        ask.end()?;
        let form = wanted.form;
        let page = read(&app, "providers", at_least, move |snapshot| {
            let all = || snapshot.world.state.books.providers.iter().map(|(id, _)| *id).collect::<Vec<ProviderId>>();
            let providers = chosen.ids(snapshot.world, &access)?.providers.map_or_else(all, |ids| ids.into_iter().collect());
            let query = Query { providers, from, until, by_model: by.contains(&By::Model), by_hour: by.contains(&By::Hour) };
            let groups = query.run(snapshot).map_err(unreadable)?;
            let rows = groups.into_iter().map(|(group, health)| shown(group, &health, snapshot.world)).collect();
            Ok(Page::part(rows, &wanted)?.saying("at", Position::new(snapshot.next()).to_string()))
        });
        Ok(page.await?.response(form))
    };
    answered(&app, answer).await
}

fn quantiles(histogram: &Histogram, unit: f64) -> Value {
    let at = |share| histogram.quantile(share).map(|value| value as f64 / unit);
    json!({"p50": at(0.5), "p90": at(0.9), "p95": at(0.95), "p99": at(0.99), "count": histogram.total()})
}

fn shown(group: Group, health: &Health, world: &World) -> Value {
    let mut row = Map::from_iter([("object".to_owned(), json!("provider_health"))]);
    naming::put(&mut row, Some(group.provider), world);
    if let Some(model) = group.model {
        row.insert("model".into(), model.into());
    }
    if let Some(start) = group.start {
        row.insert("start".into(), start.to_string().into());
        row.insert("end".into(), Every::Hour.end(start).map(|end| end.to_string()).into());
    }
    let Health { ok, refused, limited, errors, not_sent, broken, timed_out, ended_here, .. } = health;
    row.insert(
        "attempts".into(),
        json!({
            "total": health.attempts(), "ok": ok, "refused": refused, "rate_limited": limited, "errors": errors, "not_sent": not_sent,
            "broken": broken, "timed_out": timed_out, "ended_here": ended_here,
        }),
    );
    row.insert("cost".into(), naming::usd(health.cost));
    row.insert("tokens".into(), health.tokens.into());
    row.insert("first_byte_ms".into(), quantiles(&health.first_byte_ms, 1.0));
    row.insert("ms_per_token".into(), quantiles(&health.token_us, 1_000.0));
    Value::Object(row)
}
