//! What a question is narrowed to: names and ids as they were given, looked up where the rows are.

use super::{Access, Problem, ask::Ask, naming};
use crate::{Hasher, caller::user_called};
use ::projections::World;
use events::{KeyId, ProviderId, ScopeId, TenantId, UserId, limits};
use std::collections::BTreeSet;

/// Parameters that name things, each with several names separated by commas.
#[derive(Clone, Default)]
pub(crate) struct Chosen {
    tenant: Option<String>,
    scope: Option<String>,
    key: Option<String>,
    user: Option<(String, Hasher)>,
    model: Option<String>,
    provider: Option<String>,
    tag: Option<String>,
}

/// The same as ids. A name may stand for several: of several tenants, or of one that is gone.
pub(crate) struct Ids {
    pub tenants: BTreeSet<TenantId>,
    /// With everything below them.
    pub scopes: Option<BTreeSet<ScopeId>>,
    pub keys: Option<BTreeSet<KeyId>>,
    pub users: Option<BTreeSet<UserId>>,
    pub models: Option<BTreeSet<String>>,
    pub providers: Option<BTreeSet<ProviderId>>,
    pub tags: Option<BTreeSet<String>>,
}

impl Chosen {
    pub fn read(ask: &mut Ask) -> Chosen {
        let owners = Chosen::read_owners(ask);
        let mut text = |name| ask.text(name).map(str::to_owned);
        Chosen { model: text("model"), provider: text("provider"), tag: text("tag"), ..owners }
    }

    /// Of lists that know users as well.
    pub fn read_with_users(ask: &mut Ask, hasher: &Hasher) -> Chosen {
        let user = ask.text("user").map(|names| (names.to_owned(), hasher.clone()));
        Chosen { user, ..Chosen::read(ask) }
    }

    /// Of lists that know whose something is.
    pub fn read_owners(ask: &mut Ask) -> Chosen {
        let mut text = |name| ask.text(name).map(str::to_owned);
        Chosen { tenant: text("tenant"), scope: text("scope"), key: text("key"), ..Chosen::default() }
    }

    /// Of lists that know nothing but tenants.
    pub fn read_tenant(ask: &mut Ask) -> Chosen {
        Chosen { tenant: ask.text("tenant").map(str::to_owned), ..Chosen::default() }
    }

    /// Of lists that know nothing but providers.
    pub fn read_provider(ask: &mut Ask) -> Chosen {
        Chosen { provider: ask.text("provider").map(str::to_owned), ..Chosen::default() }
    }

    /// Looks the names up.
    ///
    /// # Errors
    /// A name that nobody has.
    pub fn ids(&self, world: &World, access: &Access) -> Result<Ids, Problem> {
        let books = &world.state.books;
        let tenants = self.tenants(world, access)?;
        let is_called = |wanted: &str, id: String, name: &str, tenant: TenantId| {
            tenants.contains(&tenant) && naming::is_called(wanted, &id, name, Some(tenant), &world.state)
        };
        let scopes = ids("scope", self.scope.as_deref(), |wanted| {
            let called = books.scopes.iter().filter(|(id, scope)| is_called(wanted, id.to_string(), &scope.name, scope.tenant));
            called.flat_map(|(id, _)| world.below(*id)).collect()
        })?;
        let keys = ids("key", self.key.as_deref(), |wanted| {
            let called = books.keys.iter().filter(|(id, key)| is_called(wanted, id.to_string(), &key.name, key.tenant));
            called.map(|(id, _)| *id).collect()
        })?;
        let providers = ids("provider", self.provider.as_deref(), |wanted| {
            let is_open = |tenant: Option<TenantId>| tenant.is_none_or(|tenant| access.sees(Some(tenant)));
            let seen = books.providers.iter().filter(|(_, provider)| is_open(provider.settings.tenant));
            let called = seen.filter(|(id, provider)| id.to_string() == wanted || provider.settings.name == wanted);
            called.map(|(id, _)| *id).collect()
        })?;
        let users = self.user.as_ref().map(|(names, hasher)| {
            let of_tenant = |tenant: &TenantId| names.split(',').map(|name| user_called(hasher, *tenant, name.trim())).collect::<Vec<_>>();
            tenants.iter().flat_map(of_tenant).collect()
        });
        Ok(Ids { scopes, keys, users, providers, models: texts(self.model.as_deref()), tags: texts(self.tag.as_deref()), tenants })
    }

    fn tenants(&self, world: &World, access: &Access) -> Result<BTreeSet<TenantId>, Problem> {
        let seen = access.tenants(&world.state);
        let all = || world.state.books.tenants.iter().filter(|(id, _)| seen.contains(id));
        let found = ids("tenant", self.tenant.as_deref(), |wanted| {
            all().filter(|(id, tenant)| id.to_string() == wanted || tenant.name == wanted).map(|(id, _)| *id).collect()
        })?;
        Ok(found.unwrap_or_else(|| all().map(|(id, _)| *id).collect()))
    }

    /// Whether what belongs to no tenant is wanted as well, and may be seen.
    pub fn with_platform(&self, access: &Access) -> bool {
        self.tenant.is_none() && access.tenant.is_none()
    }
}

fn ids<Id: Ord>(parameter: &str, text: Option<&str>, each: impl Fn(&str) -> BTreeSet<Id>) -> Result<Option<BTreeSet<Id>>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let mut all = BTreeSet::new();
    let names: BTreeSet<&str> = text.split(',').map(str::trim).collect();
    if names.len() > limits::NAMES_ASKED_MAX {
        return Err(Problem::parameter(parameter, format!("at most {} names", limits::NAMES_ASKED_MAX)));
    }
    for name in names {
        let found = each(name);
        if found.is_empty() {
            return Err(Problem::parameter(parameter, format!("there is no {parameter} `{name}`")));
        }
        all.extend(found);
    }
    Ok(Some(all))
}

/// Texts of a parameter, separated by commas.
pub(crate) fn texts(text: Option<&str>) -> Option<BTreeSet<String>> {
    text.map(|text| text.split(',').map(|text| text.trim().to_owned()).collect())
}
