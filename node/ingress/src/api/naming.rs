//! Names for ids, as answers give them: `key` and `key_id` beside each other.

use ::projections::World;
use events::{KeyId, Money, ProviderId, ScopeId, State, TenantId, Usage};
use serde_json::{Map, Value, json};

/// What is written of a thing with an id.
pub(crate) trait Named: std::fmt::Display {
    const NOUN: &'static str;
    fn name(&self, world: &World) -> Option<String>;
}

macro_rules! named {
    ($($id:ty, $noun:literal, $table:ident, |$row:ident| $name:expr;)*) => {$(
        impl Named for $id {
            const NOUN: &'static str = $noun;
            fn name(&self, world: &World) -> Option<String> {
                world.state.books.$table.get(self).map(|$row| $name.clone())
            }
        }
    )*};
}

named! {
    TenantId, "tenant", tenants, |tenant| tenant.name;
    ScopeId, "scope", scopes, |scope| scope.name;
    KeyId, "key", keys, |key| key.name;
    ProviderId, "provider", providers, |provider| provider.settings.name;
}

/// Whether somebody means this thing: by its id, its name, or `tenant/name`.
pub(crate) fn is_called(wanted: &str, id: &str, name: &str, tenant: Option<TenantId>, state: &State) -> bool {
    let tenant = || tenant.and_then(|tenant| state.books.tenants.get(&tenant));
    id == wanted
        || name == wanted
        || tenant().is_some_and(|tenant| wanted.strip_suffix(name).and_then(|front| front.strip_suffix('/')) == Some(&tenant.name))
}

/// Puts name and id into a row; null where there is none.
pub(crate) fn put<N: Named>(row: &mut Map<String, Value>, id: Option<N>, world: &World) {
    row.insert(N::NOUN.into(), id.as_ref().and_then(|id| id.name(world)).into());
    row.insert(format!("{}_id", N::NOUN), id.map(|id| id.to_string()).into());
}

pub(crate) fn usd(money: Money) -> Value {
    json!({"USD": money.to_string()})
}

pub(crate) fn tokens(usage: &Usage) -> Value {
    json!({
        "input": usage.input, "cache_read": usage.cache_read, "cache_write": usage.cache_write.saturating_add(usage.cache_write_1h),
        "output": usage.output, "reasoning": usage.reasoning, "audio_input": usage.audio_input, "audio_output": usage.audio_output,
        "total": usage.tokens(),
    })
}
