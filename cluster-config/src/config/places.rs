//! Where scopes and keys hang. Names are unique within a tenant; `tenant/scope` names one among several, and `tenant/` the tenant. A
//! name may stand for what is in the file or for what is there already.

use super::Config;
use crate::problem::Problems;
use events::limits;
use std::collections::{BTreeMap, BTreeSet};

/// A scope by the names of its tenant and itself.
pub(crate) type Place = (String, String);

/// Tenants and scopes that are there already.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    pub tenants: BTreeSet<String>,
    /// With the name of the parent; None hangs on the tenant.
    pub scopes: BTreeMap<Place, Option<String>>,
}

/// What something hangs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Home {
    pub tenant: String,
    /// None: on the tenant itself.
    pub scope: Option<String>,
}

/// Where everything of the file hangs, by index. None: it could not be found out.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub scopes: Vec<Option<Home>>,
    pub keys: Vec<Option<Home>>,
    /// Every scope, of the file and from before, with its parent.
    pub parents: BTreeMap<Place, Option<String>>,
}

/// Follows every name. `strict`: a name that stands for nothing is a problem.
pub(crate) fn resolve(config: &Config, outside: &Outside, strict: bool, problems: &mut Problems) -> Places {
    let mut resolver = Resolver::new(config, outside, strict, problems);
    let scopes: Vec<Option<Home>> = (0..config.scopes.len()).map(|at| resolver.scope(at)).collect();
    let keys: Vec<Option<Home>> = config.keys.iter().map(|key| resolver.find(&key.scope, &format!("{}.scope", key.path)).home()).collect();
    let mut parents = outside.scopes.clone();
    for (scope, home) in config.scopes.iter().zip(&scopes) {
        let Some(home) = home else { continue };
        parents.insert((home.tenant.clone(), scope.name.clone()), home.scope.clone());
    }
    let places = Places { scopes, keys, parents };
    twice(config, &places, problems);
    depths(config, &places, problems);
    places
}

/// Scopes that are followed one inside the other: more than are allowed, so that the message can name the right one, and few enough
/// for the stack.
const FOLLOWED_MAX: usize = 64;

/// What a name stands for.
enum Found {
    Home(Home),
    /// Nothing, or more than one thing; said already, if it is a problem.
    Nowhere,
}

impl Found {
    fn home(self) -> Option<Home> {
        match self {
            Found::Home(home) => Some(home),
            Found::Nowhere => None,
        }
    }
}

#[derive(Clone)]
enum Progress {
    Fresh,
    Busy,
    Done(Option<Home>),
}

struct Resolver<'a> {
    config: &'a Config,
    outside: &'a Outside,
    strict: bool,
    problems: &'a mut Problems,
    progress: Vec<Progress>,
    /// Scopes that are being followed, one inside the other.
    depth: usize,
    /// Scopes of the file by name.
    named: BTreeMap<&'a str, Vec<usize>>,
    tenants: BTreeSet<&'a str>,
    /// Tenants of scopes from before, by the scope's name.
    before: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Resolver<'a> {
    fn new(config: &'a Config, outside: &'a Outside, strict: bool, problems: &'a mut Problems) -> Resolver<'a> {
        let mut named: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, scope) in config.scopes.iter().enumerate() {
            named.entry(&scope.name).or_default().push(at);
        }
        let mut before: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tenant, name) in outside.scopes.keys() {
            before.entry(name).or_default().push(tenant);
        }
        let tenants = config.tenants.iter().map(|tenant| tenant.name.as_str()).chain(outside.tenants.iter().map(String::as_str)).collect();
        Resolver {
            config,
            outside,
            strict,
            problems,
            progress: vec![Progress::Fresh; config.scopes.len()],
            depth: 0,
            named,
            tenants,
            before,
        }
    }

    /// What a scope of the file hangs on.
    fn scope(&mut self, at: usize) -> Option<Home> {
        let scope = &self.config.scopes[at];
        match std::mem::replace(&mut self.progress[at], Progress::Busy) {
            Progress::Done(home) => {
                self.progress[at] = Progress::Done(home.clone());
                home
            }
            Progress::Busy => {
                self.problems.add(format!("{}.parent", scope.path), "the scope hangs on itself, by way of its parents");
                None
            }
            Progress::Fresh if self.depth > FOLLOWED_MAX => {
                self.problems
                    .add(format!("{}.parent", scope.path), format!("the scope lies deeper than {} scopes", limits::SCOPE_DEPTH_MAX));
                self.progress[at] = Progress::Done(None);
                None
            }
            Progress::Fresh => {
                self.depth += 1;
                let home = self.find(&scope.parent, &format!("{}.parent", scope.path)).home();
                self.depth -= 1;
                self.progress[at] = Progress::Done(home.clone());
                home
            }
        }
    }

    /// The tenant of a scope of the file. Where its parent is written as `tenant/scope`, that says it, and the parent is not followed:
    /// what lies above in one tenant may lie below in another, and that is no circle.
    fn tenant(&mut self, at: usize) -> Option<String> {
        match self.config.scopes[at].parent.split_once('/') {
            Some((tenant, _)) => Some(tenant.to_owned()),
            None => self.scope(at).map(|home| home.tenant),
        }
    }

    /// What a name stands for: a tenant, or a scope.
    fn find(&mut self, text: &str, path: &str) -> Found {
        let (in_tenant, name) = text.split_once('/').map_or((None, text), |(tenant, name)| (Some(tenant), name));
        let as_tenant = if name.is_empty() { in_tenant } else { Some(text) };
        let mut homes: BTreeSet<Home> = BTreeSet::new();
        if let Some(tenant) = as_tenant.filter(|tenant| self.tenants.contains(tenant)) {
            homes.insert(Home { tenant: tenant.to_owned(), scope: None });
        }
        for at in self.named.get(name).cloned().unwrap_or_default() {
            match self.tenant(at) {
                Some(tenant) if in_tenant.is_none_or(|wanted| wanted == tenant) => {
                    homes.insert(Home { tenant, scope: Some(name.to_owned()) });
                }
                Some(_) => {}
                // why is said where that scope stands
                None => return Found::Nowhere,
            }
        }
        for tenant in self.before.get(name).into_iter().flatten().filter(|tenant| in_tenant.is_none_or(|wanted| wanted == **tenant)) {
            homes.insert(Home { tenant: (*tenant).to_owned(), scope: Some(name.to_owned()) });
        }
        let mut homes = homes.into_iter();
        match (homes.next(), homes.next()) {
            (Some(home), None) => return Found::Home(home),
            (Some(first), Some(second)) => self.problems.add(
                path,
                format!("{text} may be {} or {}: write {} or {}", shown(&first), shown(&second), first.written(), second.written()),
            ),
            (None, _) if self.strict => {
                let known: Vec<String> = self.outside.scopes.keys().map(|(tenant, name)| format!("{tenant}/{name}")).collect();
                let known = known.iter().map(String::as_str).chain(self.tenants.iter().copied()).chain(self.named.keys().copied());
                let near = self.problems.did_you_mean(text, known);
                self.problems.add(path, format!("there is no tenant and no scope {text}{near}"));
            }
            (None, _) => {}
        }
        Found::Nowhere
    }
}

impl Home {
    /// As a file says it, whatever else has the name.
    pub fn written(&self) -> String {
        format!("{}/{}", self.tenant, self.scope.as_deref().unwrap_or_default())
    }
}

fn shown(home: &Home) -> String {
    match &home.scope {
        Some(scope) => format!("{}/{scope}", home.tenant),
        None => format!("the tenant {}", home.tenant),
    }
}

/// Scopes, and keys, with one name in one tenant.
fn twice(config: &Config, places: &Places, problems: &mut Problems) {
    let (mut scopes, mut keys) = (BTreeMap::new(), BTreeMap::new());
    for (scope, home) in config.scopes.iter().zip(&places.scopes) {
        // of an unknown tenant: the same words stand for the same place
        let tenant = home.as_ref().map_or((true, &scope.parent), |home| (false, &home.tenant));
        if let Some(first) = scopes.insert((tenant, &scope.name), &scope.path) {
            problems.add(format!("{}.name", scope.path), format!("the scope {} is there already, at {first}", scope.name));
        }
    }
    for (key, home) in config.keys.iter().zip(&places.keys) {
        let tenant = home.as_ref().map_or((true, &key.scope), |home| (false, &home.tenant));
        if let Some(first) = keys.insert((tenant, &key.name), &key.path) {
            problems.add(format!("{}.name", key.path), format!("the key {} is there already, at {first}", key.name));
        }
    }
}

/// No scope hangs on itself or too deep, also by way of those from before.
fn depths(config: &Config, places: &Places, problems: &mut Problems) {
    let paths: BTreeMap<(&str, &str), &str> = config
        .scopes
        .iter()
        .zip(&places.scopes)
        .filter_map(|(scope, home)| Some(((home.as_ref()?.tenant.as_str(), scope.name.as_str()), scope.path.as_str())))
        .collect();
    for (tenant, name) in places.parents.keys() {
        let (mut at, mut depth) = (name.as_str(), 1);
        while let Some(parent) = places.parents.get(&(tenant.clone(), at.to_owned())).and_then(Option::as_deref) {
            (at, depth) = (parent, depth + 1);
            if depth > limits::SCOPE_DEPTH_MAX || at == name {
                break;
            }
        }
        let path = || paths.get(&(tenant.as_str(), name.as_str())).map_or_else(|| "scopes".to_owned(), |path| format!("{path}.parent"));
        if at == name && depth > 1 {
            problems.add(path(), format!("the scope {tenant}/{name} hangs on itself, by way of its parents"));
        } else if depth > limits::SCOPE_DEPTH_MAX {
            problems.add(path(), format!("the scope {tenant}/{name} lies deeper than {} scopes", limits::SCOPE_DEPTH_MAX));
        }
    }
}

impl Places {
    /// How many scopes a scope lies below the tenant, itself included.
    pub fn depth(&self, name: &str, home: Option<&Home>) -> usize {
        let Some(home) = home else { return 0 };
        let (mut at, mut depth) = (name.to_owned(), 1);
        while let Some(parent) = self.parents.get(&(home.tenant.clone(), at)).cloned().flatten() {
            (at, depth) = (parent, depth + 1);
            if depth > limits::SCOPE_DEPTH_MAX {
                break;
            }
        }
        depth
    }
}
