//! The configuration file, and the variables that it names.

use super::{Check, Flags, fail, ok};
use cluster_config::Config;
use std::{cell::RefCell, collections::BTreeSet};

/// Stands for a variable that is not set, so that the rest of the file is read: as long as a secret must be.
const STAND_IN: &str = "stand-in-of-doctor";

/// And what the file says, as far as it can be read; without one, what the environment says.
pub fn check(flags: &Flags) -> (Option<Config>, Vec<Check>) {
    let vars = |name: &str| std::env::var(name).ok();
    let Some(path) = &flags.file else {
        return (Some(cluster_config::from_environment(&vars)), Vec::new());
    };
    let text = match super::super::changes::read(path) {
        Ok(text) => text,
        Err(why) => return (None, vec![fail(format!("the configuration cannot be read: {why}"), "give its path with -f")]),
    };
    let missing = RefCell::new(BTreeSet::new());
    let stood_in = |name: &str| {
        let value = vars(name);
        if value.is_none() {
            missing.borrow_mut().insert(name.to_owned());
        }
        value.or_else(|| Some(STAND_IN.to_owned()))
    };
    let parsed = cluster_config::fill(&text, &stood_in).err().map_or_else(|| cluster_config::parse(&text, &stood_in), Err);
    let mut checks: Vec<Check> = missing
        .borrow()
        .iter()
        .map(|name| fail(format!("{} names the variable {name}, which is not set", path.display()), format!("export {name}=…")))
        .collect();
    match parsed {
        Ok(config) => {
            if checks.is_empty() {
                checks.push(ok(format!("{} is right", path.display())));
            }
            (Some(config), checks)
        }
        Err(problems) => {
            let problem = |problem: &cluster_config::Problem| {
                fail(format!("{}: {problem}", path.display()), "correct it; schema.json describes every field")
            };
            checks.extend(problems.iter().map(problem));
            (None, checks)
        }
    }
}
