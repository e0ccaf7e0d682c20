//! `GET /api/v1/prices`, `GET /api/v1/prices/{model}`: what models cost, and what says so. Prices are changed where they stand: with their
//! target, model or provider.

use super::{
    Access, Asking, Path, Problem,
    page::{Page, Wanted},
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use cluster_config::{Candidate, PriceSource, Principal, View, export};
use events::token::Need;
use serde_json::{Value, json};

/// Every name that calls may give, with all that stands behind it, in the order in which it is tried.
pub(crate) async fn list(asking: Asking) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Read).await?;
        let mut ask = asking.ask();
        let wanted = Wanted::read(&mut ask, &asking.headers)?;
        let (model, tenant) = (ask.text("model").map(str::to_owned), ask.text("tenant").map(str::to_owned));
        ask.end()?;
        let (form, policy) = (wanted.form, asking.app.reactor.core.policy.load_full());
        let principal = principal(&asking, &access, tenant).await?;
        let names = match model {
            Some(name) => vec![name],
            None => policy.view.models(&principal).into_iter().map(|listing| listing.name).collect(),
        };
        let rows: Vec<Value> = names.iter().flat_map(|name| rows(&policy.view, &principal, name)).collect();
        Ok(Page::part(rows, &wanted, |row| row)?.response(form))
    };
    asking.answered(answer).await
}

pub(crate) async fn get(asking: Asking, Path(model): Path<String>) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Read).await?;
        let mut ask = asking.ask();
        let tenant = ask.text("tenant").map(str::to_owned);
        ask.end()?;
        let principal = principal(&asking, &access, tenant).await?;
        let policy = asking.app.reactor.core.policy.load_full();
        let candidates = rows(&policy.view, &principal, &model);
        if candidates.is_empty() {
            return Err(Problem::not_found(format!("there is no model `{model}`")));
        }
        Ok(Json(json!({"object": "model_price", "model": model, "candidates": candidates})).into_response())
    };
    asking.answered(answer).await
}

/// Whose calls are meant: a tenant's, or those that anybody may make.
async fn principal(asking: &Asking, access: &Access, tenant: Option<String>) -> Result<Principal, Problem> {
    let id = match tenant {
        None => access.tenant.unwrap_or_default(), // no tenant has the number 0
        Some(name) => asking.tenant(access, name).await?,
    };
    Ok(Principal::of_tenant(id))
}

fn rows(view: &View, principal: &Principal, name: &str) -> Vec<Value> {
    let priced = view.prices(principal, name).into_iter();
    priced.enumerate().map(|(at, (candidate, source))| shown(name, at, &candidate, source)).collect()
}

fn shown(name: &str, at: usize, candidate: &Candidate, source: Option<PriceSource>) -> Value {
    json!({
        "object": "price", "model": name, "order": at + 1, "provider": candidate.provider.name, "upstream_model": candidate.model,
        "source": source.map(PriceSource::as_str), "price": candidate.price.as_deref().map(export::price),
        "max_output_tokens": candidate.bounds.max_output_tokens, "context_tokens": candidate.bounds.context_tokens,
    })
}
