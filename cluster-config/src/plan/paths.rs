//! No call is covered by more budgets than a path can hold.

use super::names::Names;
use crate::{
    config::{
        Budget, Config,
        places::{Home, Place, Places},
    },
    pattern,
    problem::Problems,
};
use events::{Every, Owner, State, Unit, budget::Filter, limits};
use std::collections::{BTreeMap, BTreeSet};

/// What tells the budgets of one owner apart.
type Kind = (Unit, Every, Filter);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Platform,
    Tenant(String),
    Scope(Place),
    Key(Place),
}

/// Budgets as they will be, by owner.
#[derive(Default)]
struct Budgets(BTreeMap<Who, BTreeSet<Kind>>);

pub(super) fn check(config: &Config, places: &Places, state: &State, stays: &Names, prune: bool, problems: &mut Problems) {
    let mut budgets = Budgets::default();
    if !prune {
        budgets.of_state(state, stays);
    }
    budgets.of_file(config, places);
    for (place, (home, path)) in keys(config, places, state, stays) {
        let most = most_at_once(&budgets.path(&place, &home, places));
        if most > limits::PATH_MAX {
            problems
                .add(path, format!("a call with the key {} may be covered by {most} budgets; {} is the most", place.1, limits::PATH_MAX));
        }
    }
}

/// All keys as they will be: where they hang, and where the file speaks of them.
fn keys(config: &Config, places: &Places, state: &State, stays: &Names) -> BTreeMap<Place, (Home, String)> {
    let mut keys = BTreeMap::new();
    for (place, id) in &stays.keys {
        let Some(key) = state.books.keys.get(id) else { continue };
        let scope = key.scope.and_then(|scope| state.books.scopes.get(&scope)).map(|scope| scope.name.clone());
        keys.insert(place.clone(), (Home { tenant: place.0.clone(), scope }, "keys".to_owned()));
    }
    for (key, home) in config.keys.iter().zip(&places.keys) {
        let Some(home) = home else { continue };
        keys.insert((home.tenant.clone(), key.name.clone()), (home.clone(), key.path.clone()));
    }
    keys
}

impl Budgets {
    fn of_state(&mut self, state: &State, stays: &Names) {
        let mut owners = BTreeMap::from([(Owner::Platform, Who::Platform)]);
        owners.extend(stays.tenants.iter().map(|(name, id)| (Owner::Tenant(*id), Who::Tenant(name.clone()))));
        owners.extend(stays.scopes.iter().map(|(place, id)| (Owner::Scope(*id), Who::Scope(place.clone()))));
        owners.extend(stays.keys.iter().map(|(place, id)| (Owner::Key(*id), Who::Key(place.clone()))));
        for (_, budget) in state.books.budgets.iter().filter(|(_, budget)| budget.made && !budget.closed) {
            let Some(who) = owners.get(&budget.identity.owner) else { continue };
            let kind = (budget.identity.unit, budget.identity.every, budget.identity.only.clone());
            self.0.entry(who.clone()).or_default().insert(kind);
        }
    }

    fn of_file(&mut self, config: &Config, places: &Places) {
        self.add(Who::Platform, &config.budgets);
        for tenant in &config.tenants {
            self.add(Who::Tenant(tenant.name.clone()), &tenant.budgets);
        }
        for (scope, home) in config.scopes.iter().zip(&places.scopes) {
            let Some(home) = home else { continue };
            self.add(Who::Scope((home.tenant.clone(), scope.name.clone())), &scope.budgets);
        }
        for (key, home) in config.keys.iter().zip(&places.keys) {
            let Some(home) = home else { continue };
            self.add(Who::Key((home.tenant.clone(), key.name.clone())), &key.budgets);
        }
    }

    fn add(&mut self, who: Who, budgets: &[Budget]) {
        if !budgets.is_empty() {
            let kinds = budgets.iter().map(|budget| (budget.unit, budget.every, budget.only.clone()));
            self.0.entry(who).or_default().extend(kinds);
        }
    }

    /// Filters of every budget that may cover a call of this key.
    fn path(&self, key: &Place, home: &Home, places: &Places) -> Vec<&Filter> {
        let mut owners = vec![Who::Platform, Who::Tenant(home.tenant.clone()), Who::Key(key.clone())];
        let mut scope = home.scope.clone();
        while let Some(name) = scope.filter(|_| owners.len() <= limits::SCOPE_DEPTH_MAX + 3) {
            let place = (home.tenant.clone(), name);
            scope = places.parents.get(&place).cloned().flatten();
            owners.push(Who::Scope(place));
        }
        owners.iter().filter_map(|who| self.0.get(who)).flatten().map(|(_, _, filter)| filter).collect()
    }
}

/// The most of these that can cover one call: it has one provider, and two names of its model, the one that was asked for and the
/// provider's. Tags may all be there.
fn most_at_once(filters: &[&Filter]) -> usize {
    if filters.len() <= limits::PATH_MAX {
        return filters.len();
    }
    let providers: BTreeSet<&str> = filters.iter().flat_map(|filter| &filter.providers).map(String::as_str).collect();
    let with = |provider: Option<&str>| -> Vec<&Filter> {
        let is_covered = |filter: &&&Filter| {
            filter.providers.is_empty() || provider.is_some_and(|name| filter.providers.iter().any(|listed| listed == name))
        };
        filters.iter().filter(is_covered).copied().collect()
    };
    std::iter::once(None).chain(providers.into_iter().map(Some)).map(|provider| most_by_model(&with(provider))).max().unwrap_or(0)
}

fn most_by_model(filters: &[&Filter]) -> usize {
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    let mut any = 0;
    for filter in filters {
        if filter.models.is_empty() || filter.models.iter().any(|model| pattern::is_wild(model)) {
            any += 1;
        } else {
            filter.models.iter().for_each(|model| *named.entry(model).or_default() += 1);
        }
    }
    let mut counts: Vec<usize> = named.into_values().collect();
    counts.sort_unstable_by(|left, right| right.cmp(left));
    (any + counts.iter().take(2).sum::<usize>()).min(filters.len())
}
