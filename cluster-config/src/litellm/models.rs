//! Models as chains of targets: a model's own deployments, then those of its fallbacks, and of theirs.

use super::{
    deployments::{Bounds, Deployment, Deployments},
    names::Names,
    providers::Providers,
    settings::{Alias, Fallback, Settings},
};
use crate::{file, pattern, problem::Problems, values};
use events::limits;
use std::collections::{BTreeMap, BTreeSet};

/// The models of the file that is written.
pub(super) struct Models {
    pub written: Vec<file::Model>,
    /// LiteLLM's name, and ours.
    names: BTreeMap<String, String>,
    /// Those of ours that are patterns.
    wild: Vec<String>,
}

impl Models {
    /// What a name or pattern of LiteLLM's is here. None: it stands for nothing, and a plan would refuse it.
    pub fn named(&self, name: &str, providers: &Providers) -> Option<String> {
        if let Some(ours) = self.names.get(name) {
            return Some(ours.clone());
        }
        values::model_name(name).ok()?;
        let is_routed = || name.split_once('/').is_some_and(|(provider, _)| providers.has(provider));
        let is_known = pattern::is_wild(name) || is_routed() || pattern::any(&self.wild, name);
        is_known.then(|| name.to_owned())
    }
}

/// All deployments under one name of LiteLLM's.
struct Group {
    name: String,
    path: String,
    targets: Vec<file::Target>,
    bounds: Bounds,
    /// Where the bounds are told.
    bounded: Vec<String>,
}

/// A group that is meant by some name, and what its star stands for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Aim {
    group: usize,
    star: Option<String>,
}

struct Router<'a> {
    groups: Vec<Group>,
    by_name: BTreeMap<String, usize>,
    /// Groups whose name is a pattern, the longest first.
    wild: Vec<usize>,
    aliases: BTreeMap<&'a str, &'a str>,
    /// Fallbacks of a group, with their places.
    behind: BTreeMap<usize, Vec<(String, Aim)>>,
    /// Those of a group that has none.
    behind_any: Vec<(String, Aim)>,
}

pub(super) fn chain(deployments: &Deployments, settings: &Settings, left: &mut Problems) -> Models {
    let groups = groups(deployments, left);
    let by_name = groups.iter().enumerate().map(|(at, group)| (group.name.clone(), at)).collect();
    let mut wild: Vec<usize> = (0..groups.len()).filter(|at| pattern::is_wild(&groups[*at].name)).collect();
    wild.sort_by_key(|at| std::cmp::Reverse(groups[*at].name.len()));
    let mut router = Router { groups, by_name, wild, aliases: BTreeMap::new(), behind: BTreeMap::new(), behind_any: Vec::new() };
    let aliases = router.take_aliases(&settings.aliases, left);
    settings.fallbacks.iter().for_each(|fallback| router.take_fallback(fallback, left));
    let own = router.groups.iter().enumerate().map(|(group, own)| (own.path.clone(), own.name.clone(), Aim { group, star: None }));
    let wanted: Vec<(String, String, Aim)> = own.chain(aliases).collect();
    let theirs: Vec<String> = wanted.iter().map(|(_, name, _)| name.clone()).collect();
    let ours = Names::new(values::model_name).assign(&theirs);
    let mut written = Vec::new();
    for ((path, theirs, aim), ours) in wanted.iter().zip(&ours) {
        if theirs != ours {
            left.add(path, format!("is called {ours} here, and must be asked for by that name"));
        }
        written.push(router.model(ours, aim, left));
    }
    let wild = ours.iter().filter(|name| pattern::is_wild(name)).cloned().collect();
    Models { written, wild, names: theirs.into_iter().zip(ours).collect() }
}

fn groups(deployments: &Deployments, left: &mut Problems) -> Vec<Group> {
    let mut names: Vec<&str> = Vec::new();
    let mut by_name: BTreeMap<&str, Vec<&Deployment>> = BTreeMap::new();
    for deployment in &deployments.list {
        let listed = by_name.entry(&deployment.name).or_default();
        if listed.is_empty() {
            names.push(&deployment.name);
        }
        listed.push(deployment);
    }
    let mut groups = Vec::new();
    for name in names {
        let mut listed = by_name.remove(name).unwrap_or_default();
        if let Some(second) = listed.get(1) {
            let message = "is a further target of its model: targets are tried in order, and load is not shared among them";
            left.add(format!("{}.model_name", second.path), message);
        }
        let path = listed.first().map(|first| format!("{}.model_name", first.path)).unwrap_or_default();
        listed.sort_by_key(|deployment| deployment.order);
        let (targets, bounds) = (own_targets(&listed, &deployments.providers, left), own_bounds(&listed, left));
        let bounded = listed.iter().filter(|deployment| deployment.bounds != Bounds::default());
        let bounded = bounded.map(|deployment| format!("{}.model_info", deployment.path)).collect();
        groups.push(Group { name: name.to_owned(), path, targets, bounds, bounded });
    }
    groups
}

fn own_targets(listed: &[&Deployment], providers: &Providers, left: &mut Problems) -> Vec<file::Target> {
    let mut targets = Vec::new();
    for deployment in listed {
        let target = file::Target {
            provider: providers.name(deployment.provider).to_owned(),
            model: deployment.model.clone(),
            price: deployment.price.clone(),
        };
        if targets.contains(&target) {
            left.add(&deployment.path, "is the same target as one before it, and not taken over again");
        } else if targets.len() == limits::TARGETS_MAX {
            left.add(&deployment.path, format!("is not taken over: a model has at most {} targets", limits::TARGETS_MAX));
        } else {
            targets.push(target);
        }
    }
    targets
}

/// The largest: what holds money back for a call must not be too small.
fn own_bounds(listed: &[&Deployment], left: &mut Problems) -> Bounds {
    let told = listed.iter().map(|deployment| deployment.bounds);
    let most =
        told.fold(Bounds::default(), |most, told| Bounds { output: most.output.max(told.output), context: most.context.max(told.context) });
    for deployment in listed {
        let differs = |own: Option<u64>, most: Option<u64>| own.is_some() && own != most;
        if differs(deployment.bounds.output, most.output) || differs(deployment.bounds.context, most.context) {
            left.add(
                format!("{}.model_info", deployment.path),
                "has smaller figures than another target of its model; the largest count for all",
            );
        }
    }
    most
}

impl<'a> Router<'a> {
    /// What a name of LiteLLM's means: an alias, a model, or one that a pattern stands for; of several patterns the longest.
    fn find(&self, name: &str) -> Option<Aim> {
        let name = self.aliases.get(name).copied().unwrap_or(name);
        if let Some(group) = self.by_name.get(name) {
            return Some(Aim { group: *group, star: None });
        }
        let matched = |group: usize| {
            let star = pattern::matched(&self.groups[group].name, name)?.to_owned();
            let mut targets = self.groups[group].targets.iter();
            let are_names = targets.all(|target| values::model_name(&pattern::filled(&target.model, &star)).is_ok());
            are_names.then_some(Aim { group, star: Some(star) })
        };
        self.wild.iter().find_map(|group| matched(*group))
    }

    /// Keeps the aliases that mean something, and gives them as models.
    fn take_aliases(&mut self, aliases: &'a [Alias], left: &mut Problems) -> Vec<(String, String, Aim)> {
        let (mut taken, mut meant) = (Vec::new(), BTreeMap::new());
        for Alias { path, name, aim: theirs } in aliases {
            let why = match self.find(theirs) {
                None => "no model of that name was taken over",
                _ if self.by_name.contains_key(name) => "there is a model of this name",
                _ if name.is_empty() || values::wildcard(name).is_err() => "the name must have a letter, and at most one *",
                Some(aim) if aim.star.is_none() && pattern::is_wild(&self.groups[aim.group].name) && !pattern::is_wild(name) => {
                    "it would be one name for a pattern"
                }
                Some(aim) => {
                    taken.push((path.clone(), name.clone(), aim));
                    meant.insert(name.as_str(), theirs.as_str());
                    continue;
                }
            };
            left.add(path, format!("is not taken over: {why}"));
        }
        // only now: an alias of an alias means nothing to LiteLLM
        self.aliases = meant;
        taken
    }

    fn take_fallback(&mut self, fallback: &Fallback, left: &mut Problems) {
        let from = if fallback.from == "*" { None } else { self.find(&fallback.from).filter(|aim| aim.star.is_none()) };
        if fallback.from != "*" && from.is_none() {
            left.add(&fallback.path, "is not taken over: no model of this name was");
            return;
        }
        let mut found = Vec::new();
        for (path, to) in &fallback.to {
            match self.find(to) {
                Some(aim) => found.push((path.clone(), aim)),
                None => left.add(path, "is not taken over: no model of this name was"),
            }
        }
        let behind = match from {
            Some(aim) => self.behind.entry(aim.group).or_default(),
            None => &mut self.behind_any,
        };
        for (path, aim) in found {
            if behind.len() == limits::TARGETS_MAX {
                left.add(path, format!("is not taken over: a model has at most {} targets", limits::TARGETS_MAX));
            } else if !behind.iter().any(|(_, known)| *known == aim) {
                behind.push((path, aim));
            }
        }
    }

    fn behind(&self, group: usize) -> &[(String, Aim)] {
        self.behind.get(&group).unwrap_or(&self.behind_any)
    }

    fn targets(&self, aim: &Aim) -> Vec<file::Target> {
        let targets = self.groups[aim.group].targets.iter().cloned();
        let Some(star) = &aim.star else { return targets.collect() };
        targets.map(|target| file::Target { model: pattern::filled(&target.model, star), ..target }).collect()
    }

    /// The chain behind a name, in the order in which LiteLLM tries: a fallback's own fallbacks before the next one.
    fn model(&self, name: &str, aim: &Aim, left: &mut Problems) -> file::Model {
        let own = &self.groups[aim.group];
        let mut chain = Chain { name, targets: self.targets(aim), bounds: own.bounds, bounded: &own.bounded };
        let mut seen = BTreeSet::from([aim]);
        let mut next: Vec<&(String, Aim)> = self.behind(aim.group).iter().rev().collect();
        while let Some((path, aim)) = next.pop() {
            if !seen.insert(aim) {
                continue;
            }
            if !chain.append(self.targets(aim), self.groups[aim.group].bounds, path, left) {
                next.into_iter().filter(|(_, aim)| !seen.contains(aim)).for_each(|(path, _)| chain.is_full(path, left));
                break;
            }
            next.extend(self.behind(aim.group).iter().rev());
        }
        let Chain { targets, bounds, .. } = chain;
        file::Model { name: name.to_owned(), targets, price: None, max_output_tokens: bounds.output, context_tokens: bounds.context }
    }
}

/// A model's targets so far.
struct Chain<'a> {
    name: &'a str,
    targets: Vec<file::Target>,
    bounds: Bounds,
    bounded: &'a [String],
}

impl Chain<'_> {
    /// Puts a fallback's targets behind. False: no more have room.
    fn append(&mut self, targets: Vec<file::Target>, bounds: Bounds, path: &str, left: &mut Problems) -> bool {
        for target in targets {
            if pattern::is_wild(&target.model) && !pattern::is_wild(self.name) {
                left.add(path, format!("is not taken over for {}: it is a pattern, and that is not", self.name));
            } else if !self.targets.contains(&target) {
                if self.targets.len() == limits::TARGETS_MAX {
                    self.is_full(path, left);
                    return false;
                }
                self.targets.push(target);
                self.widen(bounds, path, left);
            }
        }
        true
    }

    fn is_full(&self, path: &str, left: &mut Problems) {
        left.add(path, format!("is not taken over whole for {}: a model has at most {} targets", self.name, limits::TARGETS_MAX));
    }

    /// A figure that is not told for all would hold too little back for some: then none is told, and the catalogue's count.
    fn widen(&mut self, other: Bounds, path: &str, left: &mut Problems) {
        let mut widest = |own: Option<u64>, other: Option<u64>, what: &str| match (own, other) {
            (Some(own), Some(other)) => Some(own.max(other)),
            (Some(_), None) => {
                for bounded in self.bounded {
                    left.add(
                        bounded,
                        format!("{what} is not taken over for {}: {path} has none of its own; the catalogue's count", self.name),
                    );
                }
                None
            }
            (None, _) => None,
        };
        self.bounds = Bounds {
            output: widest(self.bounds.output, other.output, "max_output_tokens"),
            context: widest(self.bounds.context, other.context, "max_input_tokens"),
        };
    }
}
