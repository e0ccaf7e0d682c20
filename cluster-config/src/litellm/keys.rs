//! Teams and keys, as `/team/new` and `/key/generate` take them. A key whose end or whose models cannot be kept is left out.

use super::{
    budgets,
    models::Models,
    names::Names,
    part::{Part, Said},
    providers::Providers,
    reasons,
};
use crate::{
    file::{self, Budget, Filter, Rates},
    pattern,
    problem::Problems,
    tree::Node,
    values,
};
use std::collections::{BTreeMap, BTreeSet};

/// What every team and every key without one hangs on.
pub(super) const TENANT: &str = "default";

struct Team {
    scope: String,
    /// None: all.
    models: Option<Vec<String>>,
    blocked: bool,
}

/// What is known when a key is read.
struct Reader<'a> {
    models: &'a Models,
    providers: &'a Providers,
    teams: Vec<Team>,
    by_id: BTreeMap<String, usize>,
    secrets: BTreeSet<String>,
}

pub(super) fn read(file: &mut Part, models: &Models, providers: &Providers, left: &mut Problems) -> (Vec<file::Scope>, Vec<file::Key>) {
    let mut reader = Reader { models, providers, teams: Vec::new(), by_id: BTreeMap::new(), secrets: BTreeSet::new() };
    let scopes = reader.teams(file, left);
    let (mut keys, mut paths) = (Vec::new(), Vec::new());
    for (path, node) in file.list("keys", left) {
        // what is said of a key that is left as a whole is said by that
        let mut told = Problems::default();
        match reader.key(Part::of(node, path.clone(), &mut told), &mut told) {
            Ok(key) => {
                left.0.append(&mut told.0);
                keys.push(key);
                paths.push(path);
            }
            Err(why) => left.add(path, format!("is not taken over: {why}")),
        }
    }
    let names = assign(Names::new(values::name), keys.iter().map(|key| key.name.clone()).collect(), &paths, "key", left);
    keys.iter_mut().zip(names).for_each(|(key, name)| key.name = name);
    (scopes, keys)
}

/// Gives names, and tells of those that became others. An empty name had none.
fn assign(mut names: Names, mut wanted: Vec<String>, paths: &[String], kind: &str, left: &mut Problems) -> Vec<String> {
    let nameless: Vec<bool> = wanted.iter().map(String::is_empty).collect();
    wanted.iter_mut().filter(|name| name.is_empty()).for_each(|name| kind.clone_into(name));
    let given = names.assign(&wanted);
    for (((wanted, given), nameless), path) in wanted.iter().zip(&given).zip(nameless).zip(paths) {
        if nameless || wanted != given {
            left.add(path, format!("is called {given} here"));
        }
    }
    given
}

impl Reader<'_> {
    fn teams(&mut self, file: &mut Part, left: &mut Problems) -> Vec<file::Scope> {
        let (mut scopes, mut paths) = (Vec::new(), Vec::new());
        for (path, node) in file.list("teams", left) {
            let entry = Part::of(node, path.clone(), left);
            scopes.push(self.team(entry, left));
            paths.push(path);
        }
        let mut names = Names::new(values::name);
        // a scope of this name could not be told from the tenant
        names.reserve(TENANT);
        let names = assign(names, scopes.iter().map(|scope| scope.name.clone()).collect(), &paths, "team", left);
        for ((scope, team), name) in scopes.iter_mut().zip(&mut self.teams).zip(names) {
            scope.name.clone_from(&name);
            team.scope = name;
        }
        scopes
    }

    fn team(&mut self, mut entry: Part, left: &mut Problems) -> file::Scope {
        let (alias, id) = (entry.text("team_alias", left), entry.text("team_id", left));
        if let Some(id) = &id {
            if self.by_id.contains_key(id) {
                left.add(entry.at("team_id"), "stands there already: keys of this id hang on the first team that has it");
            } else {
                self.by_id.insert(id.clone(), self.teams.len());
            }
        }
        let blocked = blocked(&mut entry, left);
        if blocked {
            left.add(entry.at("blocked"), "is not taken over; none of the team's keys is, either");
        }
        let models = match names(&mut entry) {
            Ok(models) => self.team_models(&models, &entry, left),
            Err(why) => {
                left.add(entry.at("models"), format!("is not taken over, and so are none of the team's keys: {why}"));
                Some(Vec::new())
            }
        };
        self.teams.push(Team { scope: String::new(), models, blocked });
        let scope = file::Scope {
            name: alias.or(id).unwrap_or_default(),
            kind: Some("team".to_owned()),
            parent: TENANT.to_owned(),
            rates: rates(&mut entry, left),
            budgets: self.budgets(&mut entry, left),
            loss: None,
            request_log: None,
        };
        entry.rest(reasons::TEAM, left);
        scope
    }

    fn team_models(&self, listed: &[(String, String)], entry: &Part, left: &mut Problems) -> Option<Vec<String>> {
        if listed.is_empty() || listed.iter().any(|(_, name)| is_all(name)) {
            return None;
        }
        left.add(
            entry.at("models"),
            "is kept by the keys of the team that are listed: scopes have no models, so a new key needs a list of its own",
        );
        Some(self.known(listed, left))
    }

    /// Our names of these models; those that stand for nothing are told.
    fn known(&self, listed: &[(String, String)], left: &mut Problems) -> Vec<String> {
        let mut known = Vec::new();
        for (path, name) in listed {
            match self.models.named(name, self.providers) {
                Some(name) => known.push(name),
                None => left.add(path, "is not taken over: no model of this name was"),
            }
        }
        known
    }

    fn key(&mut self, mut entry: Part, left: &mut Problems) -> Result<file::Key, String> {
        if !entry.is_map() {
            return Err("it must be a map".to_owned());
        }
        if blocked(&mut entry, left) {
            return Err("it is blocked, and keys here are not".to_owned());
        }
        if ["expires", "duration"].into_iter().any(|field| entry.take(field).is_some()) {
            return Err("it expires, and keys here do not; without `expires` and `duration` it is taken over for good".to_owned());
        }
        let team = self.team_of(&mut entry, left);
        if team.is_some_and(|at| self.teams[at].blocked) {
            return Err("its team is blocked".to_owned());
        }
        let models = self.key_models(&mut entry, team, left)?;
        let key = file::Key {
            name: entry.text("key_alias", left).unwrap_or_default(),
            scope: team.map_or(TENANT, |at| &self.teams[at].scope).to_owned(),
            models,
            rates: rates(&mut entry, left),
            budgets: self.budgets(&mut entry, left),
            secret: self.secret(&mut entry, left),
            loss: None,
            request_log: None,
        };
        entry.rest(reasons::KEY, left);
        Ok(key)
    }

    fn team_of(&self, entry: &mut Part, left: &mut Problems) -> Option<usize> {
        let id = entry.text("team_id", left)?;
        let at = self.by_id.get(&id).copied();
        if at.is_none() {
            left.add(
                entry.at("team_id"),
                format!("is not in `teams`: the key hangs on the tenant {TENANT}, without its team's budgets and limits"),
            );
        }
        at
    }

    /// What both the key and its team allow. None: all.
    fn key_models(&self, entry: &mut Part, team: Option<usize>, left: &mut Problems) -> Result<Option<Vec<String>>, String> {
        let listed = names(entry)?;
        if listed.iter().any(|(_, name)| name == "no-default-models") {
            return Err("it may call no model, and a key here may call one at least".to_owned());
        }
        let of_team = team.and_then(|at| self.teams[at].models.as_ref());
        let as_team = |name: &str| name == "all-team-models" || is_all(name);
        if listed.iter().any(|(_, name)| name == "all-team-models") && team.is_none() {
            return Err("it may call its team's models, and its team is not here".to_owned());
        }
        let mut models = if listed.is_empty() || listed.iter().any(|(_, name)| as_team(name)) {
            let Some(of_team) = of_team else { return Ok(None) };
            of_team.clone()
        } else {
            self.known(&listed, left)
        };
        if let Some(of_team) = of_team {
            models.retain(|name| {
                let is_allowed = of_team.contains(name) || (!pattern::is_wild(name) && pattern::any(of_team, name));
                if !is_allowed {
                    left.add(entry.at("models"), format!("{name} is not taken over: the team may not call it"));
                }
                is_allowed
            });
        }
        if models.is_empty() { Err("none of the models that it may call was taken over".to_owned()) } else { Ok(Some(models)) }
    }

    /// The key itself, or the variable that holds it. None: one is made when the file is applied.
    fn secret(&mut self, entry: &mut Part, left: &mut Problems) -> Option<String> {
        let (path, text) = (entry.at("key"), entry.text("key", left)?);
        let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let said = Said::of(&text).and_then(|said| match &said {
            _ if is_hash => Err("it is the hash of a key".to_owned()),
            Said::Literal(secret) => values::secret(secret).map(|()| said),
            Said::Variable(_) => Ok(said),
        });
        let secret = said
            .map(|said| said.written())
            .and_then(|secret| if self.secrets.insert(secret.clone()) { Ok(secret) } else { Err("another key has it".to_owned()) });
        secret.map_err(|why| left.add(path, format!("is not taken over, so a new one will be made: {why}"))).ok()
    }

    /// A budget for everything, and one for each model that has its own.
    fn budgets(&self, entry: &mut Part, left: &mut Problems) -> Vec<Budget> {
        let mut budgets: Vec<Budget> = budgets::take(entry, &["max_budget"], &["budget_duration"], left).into_iter().collect();
        for (path, name, node) in entry.part("model_max_budget", left).pairs() {
            let mut entry = Part::of(node, path.clone(), left);
            let budget = budgets::take(&mut entry, &["budget_limit", "max_budget"], &["time_period", "budget_duration"], left);
            entry.rest(reasons::NONE, left);
            let Some(budget) = budget else {
                left.add(path, "gives no budget");
                continue;
            };
            let Some(model) = self.models.named(&name, self.providers) else {
                left.add(path, "is not taken over: no model of this name was");
                continue;
            };
            let budget = Budget { only: Filter { models: vec![model], ..Filter::default() }, ..budget };
            // unit, window and filter are what a budget is
            if budgets.iter().any(|known| known.every == budget.every && known.only == budget.only) {
                left.add(path, "is not taken over: there is a budget for this model and window");
            } else {
                budgets.push(budget);
            }
        }
        budgets
    }
}

fn is_all(name: &str) -> bool {
    name == "*" || name == "all-proxy-models"
}

/// The models that are listed; none means all, so a list that cannot be read must not become none.
fn names(entry: &mut Part) -> Result<Vec<(String, String)>, String> {
    let (path, node) = (entry.at("models"), entry.take("models"));
    let items = match node {
        None => return Ok(Vec::new()),
        Some(Node::List(items)) => items,
        Some(other) => return Err(format!("its models must be a list, not {}", other.kind())),
    };
    let name = |(at, item): (usize, Node)| match item {
        Node::Text(text) => Ok((format!("{path}[{at}]"), text.value)),
        other => Err(format!("its models must be names, not {}", other.kind())),
    };
    items.into_iter().enumerate().map(name).collect()
}

/// What cannot be read as a truth value is taken for blocked.
fn blocked(entry: &mut Part, left: &mut Problems) -> bool {
    match entry.take("blocked") {
        None | Some(Node::Bool(false)) => false,
        Some(Node::Bool(true)) => true,
        Some(other) => {
            left.add(entry.at("blocked"), format!("must be true or false, not {}", other.kind()));
            true
        }
    }
}

fn rates(entry: &mut Part, left: &mut Problems) -> Rates {
    Rates {
        rpm_limit: entry.count("rpm_limit", left),
        tpm_limit: entry.count("tpm_limit", left),
        max_parallel_requests: entry.count("max_parallel_requests", left),
    }
}
