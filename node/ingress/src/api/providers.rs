//! `GET /api/v1/providers/health`: how providers did, by their names of models and by hour if asked. `POST /api/v1/providers/{name}/test`:
//! whether one can be reached.

use super::{
    Access, Asking, Path, Problem, Question,
    chosen::Chosen,
    entries, naming,
    page::{Page, Wanted},
};
use ::projections::{
    Snapshot, World,
    providers::{Group, Health, Histogram, Query},
};
use actors::probe::{Probe, probe};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use events::{Every, ProviderId, StreamId, Timestamp, token::Need};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, time::Duration};

const SINCE: Duration = Duration::from_secs(24 * 3_600);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Model,
    Hour,
}

/// What is asked.
struct Asked {
    from: Timestamp,
    until: Timestamp,
    by: BTreeSet<By>,
    chosen: Chosen,
}

/// `GET /api/v1/providers/health`.
pub(crate) async fn health(asking: Asking) -> Response {
    asking.listed("providers", Need::Read, Asked::read, Asked::answer).await
}

/// `POST /api/v1/providers/{name}/test`: asks the provider for its models, with its key. It is no call: nothing of it is recorded or charged.
pub(crate) async fn test(asking: Asking, Path(name): Path<String>) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Operate).await?;
        asking.ask().end()?;
        let (entry, _) = asking.recorded(&access, entries::found(&asking, "provider", &name, &access).await).await?;
        let policy = asking.app.reactor.core.policy.load_full();
        let provider = match entry.id {
            StreamId::Provider(id) => policy.view.provider_by_id(id).cloned(),
            _ => None,
        };
        let provider = provider.ok_or_else(|| Problem::not_found(format!("there is no provider `{name}`")))?;
        let probe = probe(&asking.app.reactor, &policy, &provider, asking.app.new_call_id()).await;
        Ok(Json(tested(&provider.name, provider.id, probe)).into_response())
    };
    asking.answered(answer).await
}

fn tested(name: &str, id: ProviderId, probe: Probe) -> Value {
    let Probe { code, status, latency, models, detail } = probe;
    json!({
        "object": "provider_test", "provider": name, "provider_id": id.to_string(), "ok": code == "ok", "status": status,
        "latency_ms": u64::try_from(latency.as_millis()).unwrap_or(u64::MAX), "models": models, "code": code, "detail": detail,
    })
}

impl Asked {
    fn read(mut question: Question<'_>) -> Result<Asked, Problem> {
        let (from, until) = question.range(question.now.minus(SINCE))?;
        let by = question.ask.words("group_by", &[("model", By::Model), ("hour", By::Hour)])?;
        Ok(Asked { from, until, by, chosen: Chosen::read_provider(question.ask) })
    }

    fn answer(self, wanted: Wanted, snapshot: &Snapshot<'_>, access: &Access) -> Result<Page, Problem> {
        access.of_platform()?; // these figures are of all tenants together
        let all = || snapshot.world.state.books.providers.iter().map(|(id, _)| *id).collect::<Vec<ProviderId>>();
        let providers = self.chosen.ids(snapshot.world, access)?.providers.map_or_else(all, |ids| ids.into_iter().collect());
        let (by_model, by_hour) = (self.by.contains(&By::Model), self.by.contains(&By::Hour));
        let groups = Query { providers, from: self.from, until: self.until, by_model, by_hour }.run(snapshot)?;
        Page::part(groups.into_iter().collect(), &wanted, |(group, health)| shown(group, &health, snapshot.world))
    }
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
