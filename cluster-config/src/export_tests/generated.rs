//! Files with any of what can be said, and the law for each of them.

use super::is_lawful;
use crate::{
    export::to_yaml,
    file::{self, Figures, File, escaped},
    harness::World,
};
use events::{Money, limits};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use std::collections::{BTreeMap, BTreeSet};

/// Words that YAML reads as something else, or that a name shares with a secret.
const NAMES: [&str; 9] = ["acme", "team", "no", "123", "1e3", "0x1F", "null", "ü-1.b", "keep"];

/// Parts of a file; what they hang on is told by place, and taken round where there are fewer.
#[derive(Clone, Debug)]
struct Draft {
    tenants: Vec<(usize, Said)>,
    scopes: Vec<(usize, usize, Option<usize>, Said)>,
    keys: Vec<(usize, usize, Option<usize>, Option<Vec<usize>>, Said)>,
    providers: Vec<(usize, Option<usize>, Settings)>,
    models: Vec<(usize, Vec<(usize, Option<file::Price>)>, Option<file::Price>, Option<u64>)>,
    platform: Said,
    prune: bool,
}

/// What tenants, scopes and keys all say.
#[derive(Clone, Debug)]
struct Said {
    rates: file::Rates,
    loss: Option<&'static str>,
    log: Option<file::RequestLog>,
    budgets: Vec<(file::Budget, Vec<usize>, Vec<usize>)>,
}

/// What a provider says of itself.
type Settings = (bool, String, BTreeMap<String, String>, Vec<u64>, Option<u64>, Option<&'static str>, Option<file::Price>);

fn figures() -> impl Strategy<Value = Figures> + Clone {
    let tokens = select(vec![
        "cache_read_per_mtok",
        "cache_write_per_mtok",
        "cache_write_1h_per_mtok",
        "reasoning_per_mtok",
        "audio_input_per_mtok",
    ]);
    let pieces = select(vec!["per_image", "per_search", "per_request"]);
    let (money, fine) = (0..1_000_000_000i128, 0..1_000_000_000_000_000i128);
    (money.clone(), money.clone(), option::of((tokens, money)), option::of((pieces, fine))).prop_map(|(input, output, token, piece)| {
        let mtok = |micro: i128| Money(micro * 1_000_000).to_string();
        let own = [("input_per_mtok", mtok(input)), ("output_per_mtok", mtok(output))];
        let token = token.map(|(field, micro)| (field, mtok(micro)));
        own.into_iter().chain(token).chain(piece.map(|(field, pico)| (field, Money(pico).to_string()))).collect()
    })
}

fn price() -> impl Strategy<Value = file::Price> {
    let long = (1..1u64 << 53, figures()).prop_map(|(above_tokens, figures)| file::Long { above_tokens, figures });
    let flat = (figures(), option::weighted(0.2, long)).prop_map(|(figures, long)| file::Price { figures, long, ..file::Price::default() });
    let tiers = btree_map(select(NAMES.to_vec()).prop_map(str::to_owned), flat.clone(), 0..3);
    (flat, tiers).prop_map(|(flat, tiers)| file::Price { tiers, ..flat })
}

fn budget() -> impl Strategy<Value = (file::Budget, Vec<usize>, Vec<usize>)> {
    let limit = prop_oneof![
        (0..limits::MONEY_PICO_MAX).prop_map(|pico| format!("{} USD", Money(pico))),
        (0..1u64 << 53, select(vec!["tokens", "requests"])).prop_map(|(count, unit)| format!("{count} {unit}")),
    ];
    let every = select(events::Every::ALL.map(events::Every::as_str).to_vec());
    let shares = vec((1..=1_000_000i128).prop_map(|ppm| Money(ppm * 1_000_000).to_string()), 0..3);
    let tags = vec("[a-z$]{1,3}=[!-+.-~]{1,4}".prop_map(|tag| escaped(&tag)), 0..2);
    let terms = (limit, every, option::weighted(0.3, any::<bool>()), shares, tags);
    (terms, vec(0..9usize, 0..3), vec(0..9usize, 0..3)).prop_map(|((limit, every, hard, alert_at, tags), models, providers)| {
        let only = file::Filter { tags, ..file::Filter::default() };
        (file::Budget { limit, every, hard, alert_at, only }, models, providers)
    })
}

fn said() -> impl Strategy<Value = Said> {
    let count = || option::weighted(0.3, 1..1u64 << 53);
    let losses = vec!["warn", "image=warn, sampling=pass", "", " refuse\n"];
    let log = option::weighted(0.3, request_log());
    (count(), count(), count(), option::weighted(0.3, select(losses)), log, vec(budget(), 0..3)).prop_map(
        |(rpm, tpm, parallel, loss, log, budgets)| Said {
            rates: file::Rates { rpm_limit: rpm, tpm_limit: tpm, max_parallel_requests: parallel },
            loss,
            log,
            budgets,
        },
    )
}

fn request_log() -> impl Strategy<Value = file::RequestLog> {
    let keep = option::of((1..90 * 24u32).prop_filter("the default is left out", |hours| *hours != 7 * 24));
    let rules = select(vec!["email", "iban", "$$.messages[*].content", "$$.a['b c'][*]"]).prop_map(str::to_owned);
    let log = select(vec![("off", false), ("all", false), ("errors", false), ("sampled", true)]);
    let (bodies, media) = (option::of(select(vec!["request", "answer"])), option::of(Just("keep")));
    (log, 1..1_000_000u32, keep, vec(rules, 0..3), bodies, media).prop_map(|((log, sampled), ppm, keep, mask, bodies, media)| {
        let sample = sampled.then(|| events::Money(i128::from(ppm) * 1_000_000).to_string());
        file::RequestLog { log, sample, keep: keep.map(|hours| format!("{hours}h")), mask, bodies, media }
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let headers = btree_map("x-[a-z$]{1,3}", "[ -~]{0,9}".prop_map(|value| escaped(&value)), 0..3);
    let base = select(vec!["https://p.example/v1", "http://[::1]:8080", "http://10.0.0.7:8000/a$$b/v1/"]).prop_map(str::to_owned);
    let timeouts = vec(1..800_000u64, 0..5);
    let gone = option::of(select(vec!["cancel", "drain"]));
    (any::<bool>(), base, headers, timeouts, option::of(1..1u64 << 53), gone, option::weighted(0.3, price()))
}

fn draft() -> impl Strategy<Value = Draft> {
    let name = || 0..NAMES.len();
    let targets = vec((0..9usize, option::weighted(0.2, price())), 1..4);
    let parts = (
        vec((name(), said()), 1..4),
        vec((0..9usize, name(), option::weighted(0.7, 0..9usize), said()), 0..6),
        vec((0..9usize, name(), option::weighted(0.7, 0..9usize), option::of(vec(0..9usize, 1..3)), said()), 0..4),
        vec((name(), option::weighted(0.2, 0..9usize), settings()), 0..4),
        vec((name(), targets, option::weighted(0.3, price()), option::of(1..1u64 << 53)), 0..4),
        said(),
        any::<bool>(),
    );
    parts.prop_map(|(tenants, scopes, keys, providers, models, platform, prune)| Draft {
        tenants,
        scopes,
        keys,
        providers,
        models,
        platform,
        prune,
    })
}

fn round<T>(list: &[T], at: usize) -> Option<&T> {
    list.get(at % list.len().max(1))
}

/// As a name is given once only.
fn once<T, K: Ord>(list: &[T], key: impl Fn(&T) -> K) -> Vec<&T> {
    let mut seen = BTreeSet::new();
    list.iter().filter(|item| seen.insert(key(item))).collect()
}

impl Draft {
    /// A file in which everything has a place.
    fn file(&self) -> File {
        let tenants = once(&self.tenants, |(name, _)| *name);
        let tenant = |at: usize| NAMES[round(&tenants, at).expect("there is a tenant").0];
        let providers = self.providers(&|at| tenant(at).to_owned());
        let names: Vec<String> = providers.iter().map(|provider| provider.name.clone()).collect();
        let models = self.models(&names);
        let known: Vec<String> = models.iter().map(|model| model.name.clone()).chain(["x*".to_owned()]).collect();
        let budgets = |said: &Said| said.budgets(&known, &names);
        let scopes = self.scopes(&tenant, &budgets);
        let keys = self.keys(&tenant, &scopes, &known, &budgets);
        let tenants = tenants.iter().map(|(name, said)| file::Tenant {
            name: NAMES[*name].to_owned(),
            budgets: budgets(said),
            rates: said.rates.clone(),
            loss: said.loss.map(str::to_owned),
            request_log: said.log.clone(),
        });
        let (tenants, loss) = (tenants.collect(), self.platform.loss.map(str::to_owned));
        let budgets = budgets(&self.platform);
        File { providers, models, tenants, scopes, keys, budgets, webhooks: Vec::new(), loss, request_log: self.platform.log.clone() }
    }

    fn providers(&self, tenant: &dyn Fn(usize) -> String) -> Vec<file::Provider> {
        let written = once(&self.providers, |(name, ..)| *name).into_iter().map(|(name, owner, settings)| {
            let (is_keyed, base_url, headers, timeouts, parallel, gone, price) = settings.clone();
            file::Provider {
                name: NAMES[*name].to_owned(),
                tenant: owner.map(tenant),
                dialect: if name % 2 == 0 { "openai".to_owned() } else { "anthropic".to_owned() },
                base_url,
                api_key: is_keyed.then(|| format!("sk-{name}")),
                price,
                headers,
                timeouts: ["connect", "first_byte", "silence", "total"].into_iter().zip(timeouts.into_iter().map(file::duration)).collect(),
                max_parallel_requests: parallel,
                on_client_gone: gone,
            }
        });
        written.collect()
    }

    fn models(&self, providers: &[String]) -> Vec<file::Model> {
        let written = once(&self.models, |(name, ..)| *name).into_iter().map(|(name, targets, price, count)| file::Model {
            name: if name % 3 == 0 { format!("{}/*", NAMES[*name]) } else { NAMES[*name].to_owned() },
            targets: targets.iter().filter_map(|(at, price)| Some((round(providers, *at)?.clone(), price.clone()))).map(target).collect(),
            price: price.clone(),
            max_output_tokens: *count,
            context_tokens: count.map(|count| count / 2 + 1),
        });
        written.filter(|model| !model.targets.is_empty()).collect()
    }

    /// Each hangs on one before it in its tenant, by its whole name.
    fn scopes(&self, tenant: &dyn Fn(usize) -> &'static str, budgets: &dyn Fn(&Said) -> Vec<file::Budget>) -> Vec<file::Scope> {
        let mut places: Vec<(&str, &str)> = Vec::new();
        let mut written = Vec::new();
        for (owner, name, parent, said) in once(&self.scopes, |(owner, name, ..)| (tenant(*owner), *name)) {
            let owner = tenant(*owner);
            let before: Vec<&str> = places.iter().filter(|(tenant, _)| *tenant == owner).map(|(_, name)| *name).collect();
            let parent = parent.and_then(|at| round(&before, at)).copied().unwrap_or_default();
            written.push(file::Scope {
                name: NAMES[*name].to_owned(),
                kind: (name % 2 == 0).then(|| "team".to_owned()),
                parent: format!("{owner}/{parent}"),
                budgets: budgets(said),
                rates: said.rates.clone(),
                loss: said.loss.map(str::to_owned),
                request_log: said.log.clone(),
            });
            places.push((owner, NAMES[*name]));
        }
        written
    }

    fn keys(
        &self,
        tenant: &dyn Fn(usize) -> &'static str,
        scopes: &[file::Scope],
        models: &[String],
        budgets: &dyn Fn(&Said) -> Vec<file::Budget>,
    ) -> Vec<file::Key> {
        let written = once(&self.keys, |(owner, name, ..)| (tenant(*owner), *name)).into_iter().map(|(owner, name, scope, only, said)| {
            let owner = tenant(*owner);
            let within: Vec<&str> =
                scopes.iter().filter(|scope| scope.parent.starts_with(&format!("{owner}/"))).map(|scope| scope.name.as_str()).collect();
            let scope = scope.and_then(|at| round(&within, at)).copied().unwrap_or_default();
            file::Key {
                name: NAMES[*name].to_owned(),
                scope: format!("{owner}/{scope}"),
                models: only.as_ref().map(|only| only.iter().filter_map(|at| round(models, *at).cloned()).collect()),
                rates: said.rates.clone(),
                budgets: budgets(said),
                loss: said.loss.map(str::to_owned),
                request_log: said.log.clone(),
                secret: (name % 2 == 0).then(|| format!("secret-{}-{name}", owner.escape_default())),
            }
        });
        written.collect()
    }
}

fn target((provider, price): (String, Option<file::Price>)) -> file::Target {
    file::Target { provider, model: "some/model-1".to_owned(), price }
}

impl Said {
    fn budgets(&self, models: &[String], providers: &[String]) -> Vec<file::Budget> {
        let named = |list: &[String], at: &[usize]| -> Vec<String> { at.iter().filter_map(|at| round(list, *at).cloned()).collect() };
        let written = self.budgets.iter().map(|(budget, of_models, of_providers)| {
            let only = file::Filter { models: named(models, of_models), providers: named(providers, of_providers), ..budget.only.clone() };
            file::Budget { only, ..budget.clone() }
        });
        written.collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_applied_is_exported(drafts in vec(draft(), 1..4)) {
        let mut world = World::new();
        let mut taken = 0;
        for draft in &drafts {
            let text = to_yaml(&draft.file());
            // a file may ask for what cannot be, such as two budgets that are one, or too many of them
            if world.plan(&text, draft.prune).is_ok() {
                world.apply(&text, draft.prune);
                is_lawful(&mut world);
                taken += 1;
            }
        }
        prop_assume!(taken > 0);
    }
}
