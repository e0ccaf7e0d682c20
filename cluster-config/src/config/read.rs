//! From the tree of the file to the parts of the [`Config`], field by field.

use super::{Budget, Config, Key, Model, Provider, Scope, Secret, Target, Tenant, Webhook, request_log};
use crate::{
    fields::{self, Fields},
    problem::Problems,
    tree::{HEADER_FILLED, Node},
    values,
};
use dialects::{Dialect, exchange::loss::LossRules};
use events::{
    Every, Rates, Unit, alert, budget, limits,
    price::{Bounds, Long, Price},
    provider, webhook,
};

/// Tiers of one price: a provider has two or three.
const TIERS_MAX: usize = 8;

pub(super) fn file(node: &Node, problems: &mut Problems) -> Config {
    let file = Fields::of(node, "", fields::FILE, problems);
    let newest_catalogue = word(&file, "catalogue", &[("keep", false), ("shipped", true)], problems).unwrap_or(false);
    Config {
        newest_catalogue,
        loss: loss(&file, problems),
        request_log: request_log::read(&file, problems),
        budgets: budgets(&file, problems),
        providers: each(&file, "providers", problems, provider),
        models: each(&file, "models", problems, model),
        tenants: each(&file, "tenants", problems, tenant),
        scopes: each(&file, "scopes", problems, scope),
        keys: each(&file, "keys", problems, key),
        webhooks: each(&file, "webhooks", problems, webhook),
    }
}

/// Reads the items of a list; what could not be read is a problem by then, and left out.
fn each<T>(parent: &Fields<'_>, field: &str, problems: &mut Problems, item: fn(&Node, &str, &mut Problems) -> Option<T>) -> Vec<T> {
    parent.list(field, problems).into_iter().filter_map(|(path, node)| item(node, &path, problems)).collect()
}

/// One of a few words.
pub(super) fn word<T: Copy>(parent: &Fields<'_>, field: &str, words: &[(&str, T)], problems: &mut Problems) -> Option<T> {
    let text = parent.text(field, problems)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let near = problems.did_you_mean(text, known.iter().copied());
        problems.add(parent.at(field), format!("must be {}, not {text:?}{near}", known.join(" or ")));
    }
    found
}

/// A text that a check accepts.
fn checked(path: String, text: Option<&str>, check: impl Fn(&str) -> Result<(), String>, problems: &mut Problems) -> Option<String> {
    let text = text?;
    match check(text) {
        Ok(()) => Some(text.to_owned()),
        Err(message) => {
            problems.add(path, message);
            None
        }
    }
}

fn name(of: &Fields<'_>, field: &str, problems: &mut Problems) -> Option<String> {
    let text = of.needed(field, problems);
    checked(of.at(field), text, values::name, problems)
}

/// A secret that a check accepts, or the word that leaves the one that is there.
fn secret(path: String, text: Option<&str>, check: fn(&str) -> Result<(), String>, problems: &mut Problems) -> Option<Secret> {
    let or_keep = |text: &str| if text == Secret::KEEP { Ok(()) } else { check(text) };
    checked(path, text, or_keep, problems).map(Secret::of)
}

/// The name of a scope or tenant, or `tenant/scope`; `tenant/` is the tenant itself where a scope has its name.
fn place(of: &Fields<'_>, field: &str, problems: &mut Problems) -> Option<String> {
    let text = of.needed(field, problems);
    let check = |text: &str| text.strip_suffix('/').unwrap_or(text).splitn(2, '/').try_for_each(values::name);
    checked(of.at(field), text, check, problems)
}

/// What becomes of what a provider's dialect cannot say: rules as in the header `x-tollgate-loss`.
fn loss(of: &Fields<'_>, problems: &mut Problems) -> Option<String> {
    const BYTES_MAX: usize = 512; // every kind, named once
    let check = |text: &str| match text.parse::<LossRules>() {
        Ok(_) if text.len() > BYTES_MAX => Err(format!("must have at most {BYTES_MAX} bytes")),
        read => read.map(drop).map_err(|wrong| wrong.to_string()),
    };
    checked(of.at("loss"), of.text("loss", problems), check, problems)
}

fn rates(of: &Fields<'_>, problems: &mut Problems) -> Rates {
    Rates {
        rpm: of.count("rpm_limit", 1, limits::COUNT_MAX, problems),
        tpm: of.count("tpm_limit", 1, limits::COUNT_MAX, problems),
        parallel: of.count("max_parallel_requests", 1, limits::COUNT_MAX, problems),
    }
}

fn provider(node: &Node, path: &str, problems: &mut Problems) -> Option<Provider> {
    let fields = Fields::of(node, path, fields::PROVIDER, problems);
    let name = name(&fields, "name", problems);
    let tenant = fields.text("tenant", problems);
    let tenant = checked(fields.at("tenant"), tenant, values::name, problems);
    fields.need("dialect", "is missing: openai or anthropic", problems);
    let dialects = [Dialect::OpenAi, Dialect::Anthropic].map(|dialect| (dialect.as_str(), dialect.as_str()));
    let dialect = word(&fields, "dialect", &dialects, problems);
    let base_url = base_url(&fields, problems);
    let api_key = fields.text("api_key", problems);
    let api_key = secret(fields.at("api_key"), api_key, values::api_key, problems);
    let gone = [("cancel", provider::OnClientGone::Cancel), ("drain", provider::OnClientGone::Drain)];
    let (headers, timeouts) = (headers(&fields, problems), timeouts(&fields, problems));
    let price = price_of(&fields, problems);
    let max_parallel = fields.count("max_parallel_requests", 1, limits::COUNT_MAX, problems);
    let on_client_gone = word(&fields, "on_client_gone", &gone, problems);
    let (name, dialect, base_url) = (name?, dialect?.to_owned(), base_url?);
    let settings = provider::Settings { name, tenant: None, dialect, base_url, headers, timeouts, price, max_parallel, on_client_gone };
    Some(Provider { path: path.to_owned(), settings, tenant, api_key })
}

fn webhook(node: &Node, path: &str, problems: &mut Problems) -> Option<Webhook> {
    let fields = Fields::of(node, path, fields::WEBHOOK, problems);
    let name = name(&fields, "name", problems);
    let tenant = fields.text("tenant", problems);
    let tenant = checked(fields.at("tenant"), tenant, values::name, problems);
    let url = fields.needed("url", problems);
    let is_tenants = fields.get("tenant").is_some();
    let url = checked(fields.at("url"), url, |url| values::webhook_url(url, is_tenants), problems);
    let given = fields.text("secret", problems);
    let secret = secret(fields.at("secret"), given, values::webhook_secret, problems);
    let alerts = kinds(&fields, problems);
    let settings = webhook::Settings { name: name?, tenant: None, url: url?, alerts };
    Some(Webhook { path: path.to_owned(), settings, tenant, secret })
}

/// Kinds of alerts in order; None: all.
fn kinds(of: &Fields<'_>, problems: &mut Problems) -> Option<Vec<alert::Kind>> {
    of.get("alerts")?;
    let known = alert::Kind::ALL.map(alert::Kind::as_str);
    let mut kinds = Vec::new();
    for (path, text) in of.texts("alerts", problems) {
        match alert::Kind::ALL.into_iter().find(|kind| kind.as_str() == text) {
            Some(kind) => kinds.push(kind),
            None => {
                let near = problems.did_you_mean(text, known.iter().copied());
                problems.add(path, format!("is no alert{near}; there are {}", known.join(", ")));
            }
        }
    }
    if of.list("alerts", &mut Problems::default()).is_empty() {
        problems.add(of.at("alerts"), "lists none; leave it out for all");
    }
    kinds.sort();
    kinds.dedup();
    Some(kinds)
}

fn base_url(of: &Fields<'_>, problems: &mut Problems) -> Option<String> {
    match values::base_url(of.needed("base_url", problems)?) {
        Ok(url) => Some(url),
        Err(message) => {
            problems.add(of.at("base_url"), message);
            None
        }
    }
}

/// Headers stand in events as they are: a variable, which may be a secret, must not get there.
fn headers(of: &Fields<'_>, problems: &mut Problems) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (path, name, node) in of.map("headers", problems) {
        match node {
            Node::Text(text) if text.unset => {}
            Node::Text(text) if text.filled => problems.add(path, HEADER_FILLED),
            Node::Text(text) => match values::header(name, &text.value) {
                Ok(()) => headers.push((name.to_ascii_lowercase(), text.value.clone())),
                Err(message) => problems.add(path, message),
            },
            other => problems.add(path, format!("must be text, not {}: write it in quotes", other.kind())),
        }
    }
    headers.sort();
    if let Some(twice) = headers.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        problems.add(of.at("headers"), format!("{} stands there twice", twice[0].0));
    }
    headers
}

fn timeouts(of: &Fields<'_>, problems: &mut Problems) -> provider::Timeouts {
    let mut timeouts = provider::Timeouts::default();
    let Some(node) = of.get("timeouts") else { return timeouts };
    let fields = Fields::of(node, &of.at("timeouts"), fields::TIMEOUTS, problems);
    // a node is given up as lost after this time, so no call may last as long
    let most_ms = u64::try_from(limits::LOST_AFTER.as_millis()).unwrap_or(u64::MAX) - 60_000;
    let steps = [
        ("connect", &mut timeouts.connect_ms),
        ("first_byte", &mut timeouts.first_byte_ms),
        ("silence", &mut timeouts.silence_ms),
        ("total", &mut timeouts.total_ms),
    ];
    for (field, timeout_ms) in steps {
        let Some(text) = fields.text(field, problems) else { continue };
        match values::duration_ms(text).filter(|ms| *ms <= most_ms) {
            Some(ms) => *timeout_ms = ms,
            None => problems.add(fields.at(field), format!("must be a time such as 500ms, 10s or 2m, up to {}s", most_ms / 1_000)),
        }
    }
    timeouts
}

fn model(node: &Node, path: &str, problems: &mut Problems) -> Option<Model> {
    let fields = Fields::of(node, path, fields::MODEL, problems);
    let name = fields.needed("name", problems);
    let name = checked(fields.at("name"), name, values::model_name, problems);
    let targets = each(&fields, "targets", problems, target);
    let listed = fields.list("targets", &mut Problems::default()).len();
    if !matches!(node, Node::Map(_)) {
        return None;
    }
    if listed == 0 || listed > limits::TARGETS_MAX {
        problems.add(fields.at("targets"), format!("must list 1 to {} targets", limits::TARGETS_MAX));
    }
    if name.as_ref().is_some_and(|name| !crate::pattern::is_wild(name)) {
        for target in targets.iter().filter(|target| crate::pattern::is_wild(&target.model)) {
            problems.add(fields::below(&target.path, "model"), "may hold a * only where the model's name holds one");
        }
    }
    let price = price_of(&fields, problems);
    let bounds = Bounds {
        max_output_tokens: fields.count("max_output_tokens", 1, limits::COUNT_MAX, problems),
        context_tokens: fields.count("context_tokens", 1, limits::COUNT_MAX, problems),
    };
    Some(Model { path: path.to_owned(), name: name?, targets, price, bounds })
}

fn target(node: &Node, path: &str, problems: &mut Problems) -> Option<Target> {
    let fields = Fields::of(node, path, fields::TARGET, problems);
    let provider = name(&fields, "provider", problems);
    let model = fields.needed("model", problems);
    let model = checked(fields.at("model"), model, values::model_name, problems);
    let price = price_of(&fields, problems);
    Some(Target { path: path.to_owned(), provider: provider?, model: model?, price })
}

fn tenant(node: &Node, path: &str, problems: &mut Problems) -> Option<Tenant> {
    let fields = Fields::of(node, path, fields::TENANT, problems);
    let name = name(&fields, "name", problems);
    let (rates, loss, budgets) = (rates(&fields, problems), loss(&fields, problems), budgets(&fields, problems));
    let request_log = request_log::read(&fields, problems);
    Some(Tenant { path: path.to_owned(), name: name?, rates, loss, request_log, budgets })
}

fn scope(node: &Node, path: &str, problems: &mut Problems) -> Option<Scope> {
    let fields = Fields::of(node, path, fields::SCOPE, problems);
    let name = name(&fields, "name", problems);
    let kind = fields.text("kind", problems);
    let kind = checked(fields.at("kind"), kind.or(Some("scope")), values::name, problems);
    let parent = place(&fields, "parent", problems);
    let (rates, loss, budgets) = (rates(&fields, problems), loss(&fields, problems), budgets(&fields, problems));
    let request_log = request_log::read(&fields, problems);
    Some(Scope { path: path.to_owned(), name: name?, kind: kind?, parent: parent?, rates, loss, request_log, budgets })
}

fn key(node: &Node, path: &str, problems: &mut Problems) -> Option<Key> {
    let fields = Fields::of(node, path, fields::KEY, problems);
    let name = name(&fields, "name", problems);
    let scope = place(&fields, "scope", problems);
    let models = key_models(&fields, problems);
    let secret = secret(fields.at("secret"), fields.text("secret", problems), values::secret, problems);
    let (rates, loss, budgets) = (rates(&fields, problems), loss(&fields, problems), budgets(&fields, problems));
    let request_log = request_log::read(&fields, problems);
    Some(Key { path: path.to_owned(), name: name?, scope: scope?, models, rates, loss, request_log, budgets, secret })
}

fn key_models(of: &Fields<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    of.get("models")?;
    let listed = patterns(of, "models", problems);
    if of.list("models", &mut Problems::default()).is_empty() {
        problems.add(of.at("models"), "lists none; leave it out for all");
    }
    (!listed.iter().any(|pattern| pattern == "*")).then_some(listed)
}

/// Names of models with wildcards, in order, each once.
fn patterns(of: &Fields<'_>, field: &str, problems: &mut Problems) -> Vec<String> {
    sorted(of, field, values::model_name, problems)
}

fn sorted(of: &Fields<'_>, field: &str, check: fn(&str) -> Result<(), String>, problems: &mut Problems) -> Vec<String> {
    let texts = of.texts(field, problems);
    let mut sorted: Vec<String> = texts.into_iter().filter_map(|(path, text)| checked(path, Some(text), check, problems)).collect();
    sorted.sort();
    sorted.dedup();
    sorted
}

fn budgets(of: &Fields<'_>, problems: &mut Problems) -> Vec<Budget> {
    each(of, "budgets", problems, budget)
}

fn budget(node: &Node, path: &str, problems: &mut Problems) -> Option<Budget> {
    let fields = Fields::of(node, path, fields::BUDGET, problems);
    let limit = limit(&fields, problems);
    fields.need("every", "is missing: hour, day, week, month or total", problems);
    let every = word(&fields, "every", &Every::ALL.map(|every| (every.as_str(), every)), problems);
    let hard = fields.truth("hard", problems).unwrap_or(true);
    let mut alert_at_ppm = Vec::new();
    for (path, text) in fields.texts("alert_at", problems) {
        match values::share_ppm(text) {
            Some(ppm) => alert_at_ppm.push(ppm),
            None => problems.add(path, "must be a share such as \"0.8\", above 0 and up to 1"),
        }
    }
    alert_at_ppm.sort_unstable();
    alert_at_ppm.dedup();
    let only = filter(&fields, problems);
    let (unit, limit) = limit?;
    Some(Budget { path: path.to_owned(), unit, every: every?, only, terms: budget::Terms { limit, hard, alert_at_ppm } })
}

fn limit(of: &Fields<'_>, problems: &mut Problems) -> Option<(Unit, events::Amount)> {
    match values::limit(of.needed("limit", problems)?) {
        Ok(limit) => Some(limit),
        Err(message) => {
            problems.add(of.at("limit"), message);
            None
        }
    }
}

/// Lists are brought into order, for a filter is a part of what makes a budget itself.
fn filter(of: &Fields<'_>, problems: &mut Problems) -> budget::Filter {
    let Some(node) = of.get("only") else { return budget::Filter::default() };
    let fields = Fields::of(node, &of.at("only"), fields::FILTER, problems);
    let models = patterns(&fields, "models", problems);
    let providers = sorted(&fields, "providers", values::name, problems);
    let tags = sorted(&fields, "tags", values::tag, problems);
    for (field, listed) in [("models", &models), ("providers", &providers), ("tags", &tags)] {
        if fields.get(field).is_some() && listed.is_empty() && fields.list(field, &mut Problems::default()).is_empty() {
            problems.add(fields.at(field), "lists none; leave it out for all");
        }
    }
    budget::Filter { models, providers, tags }
}

/// The field `price`, as it stands in a file and in the data of the catalogue.
pub(crate) fn price_of(of: &Fields<'_>, problems: &mut Problems) -> Option<Price> {
    let node = of.get("price")?;
    let fields = Fields::of(node, &of.at("price"), fields::PRICE, problems);
    let mut price = flat_price(&fields, problems)?;
    price.long = long(&fields, problems);
    price.tiers = tiers(&fields, problems);
    Some(price)
}

fn flat_price(of: &Fields<'_>, problems: &mut Problems) -> Option<Price> {
    let mtok = |field: &str, problems: &mut Problems| {
        figure(of, field, crate::price::per_mtok, "dollars per million tokens with at most six places", problems)
    };
    let piece = |field: &str, problems: &mut Problems| figure(of, field, per_piece, "dollars with at most twelve places", problems);
    for field in ["input_per_mtok", "output_per_mtok"] {
        of.need(field, "is missing; what costs nothing is \"0\"", problems);
    }
    let (input, output) = (mtok("input_per_mtok", problems), mtok("output_per_mtok", problems));
    let price = Price {
        cache_read: mtok("cache_read_per_mtok", problems),
        cache_write: mtok("cache_write_per_mtok", problems),
        cache_write_1h: mtok("cache_write_1h_per_mtok", problems),
        reasoning: mtok("reasoning_per_mtok", problems),
        audio_input: mtok("audio_input_per_mtok", problems),
        audio_output: mtok("audio_output_per_mtok", problems),
        image: piece("per_image", problems),
        search: piece("per_search", problems),
        request: piece("per_request", problems),
        ..Price::default()
    };
    Some(Price { input: input?, output: output?, ..price })
}

fn per_piece(text: &str) -> Option<events::Money> {
    events::Money::parse(text).filter(|money| money.0 >= 0)
}

/// A figure in quotes, so that it is exact; a whole number may go without.
fn figure(
    of: &Fields<'_>,
    field: &str,
    read: fn(&str) -> Option<events::Money>,
    form: &str,
    problems: &mut Problems,
) -> Option<events::Money> {
    let text = match of.get(field)? {
        Node::Whole(number) => number.to_string(),
        _ => of.text(field, problems)?.to_owned(),
    };
    let money = read(&text);
    if money.is_none() {
        problems.add(of.at(field), format!("must be {form}, such as \"0.15\""));
    }
    money
}

fn long(of: &Fields<'_>, problems: &mut Problems) -> Option<Box<Long>> {
    let node = of.get("long")?;
    let fields = Fields::of(node, &of.at("long"), fields::LONG, problems);
    fields.need("above_tokens", "is missing", problems);
    let above_tokens = fields.count("above_tokens", 1, limits::COUNT_MAX, problems);
    let price = flat_price(&fields, problems);
    Some(Box::new(Long { above_tokens: above_tokens?, price: price? }))
}

fn tiers(of: &Fields<'_>, problems: &mut Problems) -> Vec<(String, Price)> {
    let mut tiers = Vec::new();
    for (path, name, node) in of.map("tiers", problems) {
        let fields = Fields::of(node, &path, fields::TIER, problems);
        if let Err(message) = values::name(name) {
            problems.add(&path, message);
        }
        if let Some(mut price) = flat_price(&fields, problems) {
            price.long = long(&fields, problems);
            tiers.push((name.to_owned(), price));
        }
    }
    if tiers.len() > TIERS_MAX {
        problems.add(of.at("tiers"), format!("may hold {TIERS_MAX} tiers, not {}", tiers.len()));
    }
    tiers.sort_by(|(left, _), (right, _)| left.cmp(right));
    tiers
}
