use super::*;
use crate::{Config, config::Secret, fill, harness::World, parse, price::per_mtok};
use events::{Every, Money, Unit};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};

/// What a company might run.
const FULL: &str = include_str!("litellm_tests/full.yaml");

/// A value for any variable that would do as an address, a key and a secret.
fn dummy(name: &str) -> Option<String> {
    Some(format!("https://dummy.example/{name}"))
}

fn imported(text: &str) -> Imported {
    import(text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

/// The file that was written, read as it would be, and planned.
fn config(imported: &Imported) -> Config {
    let text = fill(&imported.yaml, &dummy).unwrap_or_else(|problems| panic!("{problems:?}\n{}", imported.yaml));
    let planned = World::new().plan(&text, false);
    assert!(planned.is_ok(), "{:?}\n{}", planned.err(), imported.yaml);
    parse(&imported.yaml, &dummy).unwrap_or_else(|problems| panic!("{problems:?}\n{}", imported.yaml))
}

/// It is told, or something that it is in.
fn is_told(left: &[Problem], path: &str) -> bool {
    left.iter().any(|problem| path.strip_prefix(&problem.path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])))
}

fn why<'a>(left: &'a [Problem], path: &str) -> &'a str {
    left.iter().find(|problem| problem.path == path).map_or("", |problem| &problem.message)
}

/// The targets of a model as `provider model`.
fn targets(config: &Config, name: &str) -> Vec<String> {
    let model = config.models.iter().find(|model| model.name == name).unwrap_or_else(|| panic!("no model {name}"));
    model.targets.iter().map(|target| format!("{} {}", target.provider, target.model)).collect()
}

fn one_model(params: Value, info: Value) -> Imported {
    imported(&json!({"model_list": [{"model_name": "m", "litellm_params": params, "model_info": info}]}).to_string())
}

fn one_key(key: Value) -> Imported {
    imported(&json!({"model_list": [{"model_name": "m", "litellm_params": {"model": "openai/m"}}], "keys": [key]}).to_string())
}

#[test]
fn providers_of_a_whole_file_are_there_once_each() {
    let config = config(&imported(FULL));
    let providers: Vec<String> = config
        .providers
        .iter()
        .map(|provider| {
            let key = provider.api_key.as_ref().and_then(Secret::given).map_or("none", |key| key.rsplit('/').next().unwrap());
            format!("{} {} {} {key}", provider.settings.name, provider.settings.dialect, provider.settings.base_url)
        })
        .collect();
    assert_eq!(
        providers,
        [
            "azure-eu-prod openai https://eu-prod.openai.azure.com/openai/v1 AZURE_API_KEY_EU",
            "azure-azure_api_base_us openai https://dummy.example/AZURE_API_BASE_US/openai/v1 AZURE_API_KEY_US",
            "openai openai https://api.openai.com/v1 OPENAI_API_KEY",
            "anthropic anthropic https://api.anthropic.com/v1 ANTHROPIC_API_KEY",
            "hosted_vllm-10.0.0.7:8000 openai http://10.0.0.7:8000/v1 none",
            "gemini openai https://generativelanguage.googleapis.com/v1beta/openai GEMINI_API_KEY",
            "openai-2 openai https://api.openai.com/v1 sk-literal$one",
            "ollama_chat openai http://localhost:11434/v1 none",
        ]
    );
    let azure = &config.providers[0].settings;
    assert_eq!((azure.timeouts.total_ms, azure.timeouts.first_byte_ms, azure.timeouts.silence_ms), (300_000, 300_000, 300_000));
    assert_eq!(azure.max_parallel, Some(40));
    let openai = &config.providers[2].settings;
    assert_eq!((openai.timeouts.total_ms, openai.max_parallel), (60_500, None), "the router's timeout");
    assert_eq!(openai.headers, [("openai-organization".to_owned(), "org-1".to_owned())]);
}

#[test]
fn models_of_a_whole_file_are_chains_with_prices() {
    let config = config(&imported(FULL));
    let gpt = ["azure-azure_api_base_us gpt-4o-us", "azure-eu-prod gpt-4o-eu"];
    let claude = ["anthropic claude-sonnet-4-5"];
    assert_eq!(targets(&config, "gpt-4o"), [&gpt[..], &claude, &["openai gpt-4o-mini"]].concat(), "its own by order, then what is behind");
    assert_eq!(targets(&config, "gpt-4"), targets(&config, "gpt-4o"), "an alias");
    assert_eq!(targets(&config, "claude"), [&claude[..], &["openai gpt-4o-mini"]].concat(), "a default fallback");
    assert_eq!(targets(&config, "openai/*"), ["openai *", "openai gpt-4o-mini"]);
    assert_eq!(targets(&config, "Local-Llama-70B"), ["hosted_vllm-10.0.0.7:8000 meta-llama/Llama-3.3-70B", "openai gpt-4o-mini"]);
    let model = |name: &str| config.models.iter().find(|model| model.name == name).unwrap();
    let price = model("gpt-4o").targets[1].price.as_ref().unwrap();
    let mtok = |text: &str| per_mtok(text).unwrap();
    assert_eq!((price.input, price.output, price.cache_read), (mtok("2.5"), mtok("10"), Some(mtok("1.25"))));
    assert_eq!(model("small").targets[0].price.as_ref().map(|price| (price.input, price.output)), Some((mtok("0.15"), mtok("0.6"))));
    assert_eq!(model("embed").targets[0].price.as_ref().map(|price| (price.input, price.output)), Some((mtok("0.02"), Money(0))));
    assert_eq!((model("small").bounds.max_output_tokens, model("small").bounds.context_tokens), (Some(16_384), Some(128_000)));
    assert!(!config.models.iter().any(|model| model.name.contains("titan")), "nobody speaks to it");
}

#[test]
fn teams_keys_and_budgets_of_a_whole_file_are_what_they_were() {
    let config = config(&imported(FULL));
    let budgets = |budgets: &[crate::config::Budget]| -> Vec<(i128, Every)> {
        assert!(budgets.iter().all(|budget| budget.unit == Unit::Usd && budget.terms.hard));
        budgets.iter().map(|budget| (budget.terms.limit, budget.every)).collect()
    };
    let usd = |text: &str| Money::parse(text).unwrap().0;
    assert_eq!(budgets(&config.budgets), [(usd("5000"), Every::Month), (usd("100"), Every::Day)]);
    assert_eq!(config.budgets[1].only.providers, ["openai", "openai-2"]);
    let [search, default] = &config.scopes[..] else { panic!("{:?}", config.scopes) };
    assert_eq!((search.name.as_str(), search.kind.as_str(), search.parent.as_str()), ("search", "team", "default"));
    assert_eq!((budgets(&search.budgets), search.rates.tpm), (vec![(usd("250.5"), Every::Week)], Some(1_000_000)));
    assert_eq!(default.name, "default-2", "not the tenant's name");
    let key = |name: &str| config.keys.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("no key {name}"));
    let prod = key("search-prod");
    assert_eq!((prod.scope.as_str(), prod.rates.rpm, prod.rates.parallel), ("search", Some(600), Some(50)));
    assert_eq!(budgets(&prod.budgets), [(usd("20"), Every::Day), (usd("0.5"), Every::Hour)]);
    assert_eq!(prod.budgets[1].only.models, ["gpt-4o"]);
    assert_eq!(prod.secret.as_ref().and_then(Secret::given), Some("sk-search-${not}-a$variable"));
    assert_eq!(prod.models.as_deref(), Some(&["gpt-4o".to_owned()][..]), "claude is not the team's");
    assert_eq!(key("team-wide").models.as_deref(), Some(&["gpt-4o".to_owned(), "small".to_owned()][..]), "the team's");
    assert_eq!(key("lone").scope, "default");
    assert_eq!((&key("lone").models, budgets(&key("lone").budgets)), (&None, vec![(usd("3"), Every::Total)]));
    assert_eq!(key("lone").secret.as_ref().and_then(Secret::given), Some("https://dummy.example/LONE_KEY"));
    assert_eq!(config.keys.len(), 3, "those that expire or are blocked are left");
}

#[test]
fn what_is_left_of_a_whole_file_is_told() {
    let left = imported(FULL).left;
    for (path, part) in [
        ("model_list[0].litellm_params.rpm", "max_parallel_requests"),
        ("model_list[0].litellm_params.api_version", "v1"),
        ("model_list[1].model_name", "in order"),
        ("model_list[7].litellm_params.api_key", "${NAME}"),
        ("model_list[9]", "bedrock"),
        ("router_settings.routing_strategy", "in order"),
        ("router_settings.redis_host", "Redis"),
        ("router_settings.context_window_fallbacks", "one chain"),
        ("litellm_settings.success_callback", "OTEL"),
        ("general_settings.master_key", "TOLLGATE_ADMIN_TOKEN"),
        ("environment_variables.LANGFUSE_HOST", "${…}"),
        ("teams[0].models", "a list of its own"),
        ("teams[1].budget_duration", "an hour"),
        ("teams[1].max_budget", "window"),
        ("keys[0].models[1]", ""),
        ("keys[3]", "expires"),
        ("keys[4]", "blocked"),
        ("keys[0].metadata", "x-tollgate-tags"),
        ("a_new_section", "not known"),
    ] {
        let found = if part.is_empty() { "" } else { why(&left, path) };
        assert!(found.contains(part), "{path}: {found:?} without {part:?}; {left:#?}");
    }
    for secret in ["sk-literal", "sk-search", "sk-master", "hunter2"] {
        assert!(!left.iter().any(|problem| problem.to_string().contains(secret)), "{secret} is shown");
    }
}

/// All places of a tree, of maps and of leaves.
fn places(value: &Value, path: &str, maps: &mut Vec<String>, leaves: &mut Vec<String>) {
    match value {
        Value::Object(pairs) => {
            maps.push(path.to_owned());
            pairs.iter().for_each(|(name, value)| places(value, &crate::fields::below(path, name), maps, leaves));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| places(item, &format!("{path}[{at}]"), maps, leaves));
        }
        _ => leaves.push(path.to_owned()),
    }
}

/// The value at a place. Names in the sample hold neither dots nor brackets, but for those that are taken whole.
fn at<'a>(value: &'a mut Value, path: &str) -> &'a mut Value {
    let mut value = value;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (index, behind) = inside.split_once(']').unwrap();
            (value, rest) = (&mut value[index.parse::<usize>().unwrap()], behind);
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            (value, rest) = (&mut value[&rest[..end]], &rest[end..]);
        }
    }
    value
}

fn full() -> Value {
    fn value(node: Node) -> Value {
        match node {
            Node::Null => Value::Null,
            Node::Bool(truth) => json!(truth),
            Node::Whole(number) => json!(i64::try_from(number).unwrap()),
            Node::Float(number) => json!(number),
            Node::Text(text) => json!(text.value),
            Node::List(items) => items.into_iter().map(value).collect(),
            Node::Map(pairs) => Value::Object(pairs.into_iter().map(|(name, node)| (name, value(node))).collect()),
        }
    }
    value(read(FULL).unwrap())
}

#[test]
fn an_unknown_field_is_told_wherever_it_stands() {
    let (mut maps, mut leaves) = (Vec::new(), Vec::new());
    places(&full(), "", &mut maps, &mut leaves);
    assert!(maps.len() > 45, "{maps:?}");
    for map in maps {
        let mut file = full();
        at(&mut file, &map)["zz_unknown"] = json!({"zz": [[]]});
        let path = crate::fields::below(&map, "zz_unknown");
        let left = imported(&file.to_string()).left;
        assert!(is_told(&left, &path), "{path} is lost: {left:#?}");
    }
}

/// A leaf that is neither told nor changes the file that is written is lost in silence.
#[test]
fn each_leaf_is_told_or_means_something() {
    let (mut maps, mut leaves) = (Vec::new(), Vec::new());
    places(&full(), "", &mut maps, &mut leaves);
    let before = imported(&full().to_string());
    let mut meant = 0;
    for leaf in leaves.iter().filter(|leaf| !is_told(&before.left, leaf)) {
        let mut file = full();
        let value = at(&mut file, leaf);
        *value = match &value {
            Value::String(text) => json!(format!("{text}x")),
            Value::Number(number) => json!(number.as_f64().unwrap() * 2.0 + 1.0),
            Value::Bool(truth) => json!(!*truth),
            // nothing is as good as absent
            _ => continue,
        };
        assert_ne!(imported(&file.to_string()), before, "{leaf} is lost");
        meant += 1;
    }
    assert!(meant > 60, "{meant}");
}

#[test]
fn prices_are_exact_or_told() {
    for (input, output, mtok) in [
        (json!(1.5e-07), json!(6e-07), ("0.15", "0.6")),
        (json!("1.5e-07"), json!("0.0000006"), ("0.15", "0.6")),
        (json!(0.00000125), json!(1e-5), ("1.25", "10")),
        (json!(0), json!(0.0), ("0", "0")),
        (json!(1e-12), json!(7.0000003e-05), ("0.000001", "70.000003")),
    ] {
        let file = one_model(json!({"model": "gpt-4o", "input_cost_per_token": input, "output_cost_per_token": output}), json!({}));
        let price = config(&file).models[0].targets[0].price.clone().unwrap();
        assert_eq!((Some(price.input), Some(price.output)), (per_mtok(mtok.0), per_mtok(mtok.1)), "{}", file.yaml);
        assert!(file.yaml.contains(mtok.0) && file.left.is_empty(), "{file:?}");
    }
    for bad in [json!(1e-13), json!(-1e-6), json!("much"), json!([]), json!(1e30), json!(true)] {
        let params = json!({"model": "gpt-4o", "input_cost_per_token": bad, "output_cost_per_token": 1e-6});
        let file = one_model(params, json!({}));
        assert!(config(&file).models[0].targets[0].price.is_none(), "{bad}");
        for field in ["input_cost_per_token", "output_cost_per_token"] {
            assert!(is_told(&file.left, &format!("model_list[0].litellm_params.{field}")), "{bad}: {:?}", file.left);
        }
    }
    let price = json!({"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6});
    let file = one_model(json!({"model": "gpt-4o", "input_cost_per_token": 3e-6}), price);
    let price = config(&file).models[0].targets[0].price.clone().unwrap();
    assert_eq!((Some(price.input), Some(price.output)), (per_mtok("3"), per_mtok("2")));
    assert!(why(&file.left, "model_list[0].model_info.input_cost_per_token").contains("otherwise"));
}

#[test]
fn addresses_become_those_of_our_dialects() {
    let base = |model: &str, api_base: Option<&str>| {
        let file = one_model(json!({"model": model, "api_base": api_base}), json!({}));
        config(&file).providers.first().map(|provider| provider.settings.base_url.clone())
    };
    for (model, api_base, ours) in [
        ("gpt-4o", None, "https://api.openai.com/v1"),
        ("claude-sonnet-4-5", None, "https://api.anthropic.com/v1"),
        ("anthropic/claude", Some("https://api.anthropic.com/"), "https://api.anthropic.com/v1"),
        ("anthropic/claude", Some("https://proxy.example/v1/messages"), "https://proxy.example/v1"),
        ("anthropic/claude", Some("os.environ/BASE"), "https://dummy.example/BASE/v1"),
        ("groq/llama", None, "https://api.groq.com/openai/v1"),
        ("openai/llama", Some("http://10.0.0.7:8000/v1/"), "http://10.0.0.7:8000/v1"),
        ("openai/llama", Some("http://10.0.0.7:8000/v1/chat/completions"), "http://10.0.0.7:8000/v1"),
        ("llama", Some("https://api.groq.com/openai/v1"), "https://api.groq.com/openai/v1"),
        ("ollama/llama", Some("http://ollama:11434"), "http://ollama:11434/v1"),
        ("hosted_vllm/llama", None, "https://dummy.example/HOSTED_VLLM_API_BASE"),
        ("azure/four", None, "https://dummy.example/AZURE_API_BASE/openai/v1"),
        ("azure/four", Some("https://a.openai.azure.com"), "https://a.openai.azure.com/openai/v1"),
        ("azure/four", Some("https://a.openai.azure.com/openai/deployments/x?api-version=1"), "https://a.openai.azure.com/openai/v1"),
    ] {
        assert_eq!(base(model, api_base).as_deref(), Some(ours), "{model} at {api_base:?}");
    }
    for (model, api_base) in [
        ("bedrock/anthropic.claude", None),
        ("vertex_ai/gemini-2.5-pro", None),
        ("gemini/gemini-2.5-pro", Some("https://gemini.example")),
        ("command-r", None),
        ("*", None),
        ("openai/*", None),
        ("openai/x", Some("ftp://x")),
        ("openai/x", Some("http://169.254.169.254/v1")),
        ("openai/x", Some("os.environ/A B")),
        ("openai/a b", None),
        ("openai/", None),
    ] {
        let file = one_model(json!({"model": model, "api_base": api_base}), json!({}));
        assert!(config(&file).providers.is_empty() && why(&file.left, "model_list[0]").contains("not taken over"), "{model}: {file:?}");
    }
}

#[test]
fn names_of_models_at_providers_are_theirs() {
    for (model, theirs) in [
        ("openai/gpt-4o", "gpt-4o"),
        ("azure/o_series/three", "three"),
        ("openrouter/openai/gpt-4o", "openai/gpt-4o"),
        ("huggingface/together/deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-R1:together"),
        ("fireworks_ai/llama", "accounts/fireworks/models/llama"),
        ("together_ai/meta-llama/Llama-3", "meta-llama/Llama-3"),
    ] {
        assert_eq!(config(&one_model(json!({"model": model}), json!({}))).models[0].targets[0].model, theirs, "{model}");
    }
    let custom = one_model(json!({"model": "groq/llama", "custom_llm_provider": "groq"}), json!({}));
    assert_eq!(targets(&config(&custom), "m"), ["groq llama"]);
}

#[test]
fn credentials_are_filled_in_and_none_is_lost() {
    let file = imported(
        "credential_list:
- {credential_name: a, credential_values: {api_base: 'https://a.example/v1', api_key: os.environ/A, region: x}}
- {credential_name: b, credential_values: {api_key: os.environ/B}}
model_list:
- {model_name: m, litellm_params: {model: openai/m, litellm_credential_name: a}}
- {model_name: n, litellm_params: {model: openai/m, litellm_credential_name: c}}",
    );
    let config = config(&file);
    assert_eq!(config.providers[0].settings.base_url, "https://a.example/v1");
    assert_eq!(config.providers[0].api_key.as_ref().and_then(Secret::given), Some("https://dummy.example/A"));
    for path in ["credential_list[0].credential_values.region", "credential_list[1]", "model_list[1]"] {
        assert!(is_told(&file.left, path), "{path}: {:?}", file.left);
    }
    assert_eq!(file.left.len(), 3, "{:?}", file.left);
}

#[test]
fn fallbacks_are_bounded_and_go_round_no_circle() {
    let models: Vec<Value> =
        (0..20).map(|at| json!({"model_name": format!("m{at}"), "litellm_params": {"model": format!("openai/m{at}")}})).collect();
    let chain: Vec<Value> = (0..20).map(|at| json!({format!("m{at}"): [format!("m{}", (at + 1) % 20), "nowhere"]})).collect();
    let file = imported(&json!({"model_list": models, "router_settings": {"fallbacks": chain}}).to_string());
    let found = targets(&config(&file), "m3");
    let wanted: Vec<String> = (3..19).map(|at| format!("openai m{at}")).collect();
    assert_eq!(found, wanted);
    assert!(why(&file.left, "router_settings.fallbacks[18].m18[0]").contains("16 targets"), "{:#?}", file.left);
    assert!(is_told(&file.left, "router_settings.fallbacks[0].m0[1]"));
    // all that has no room is told
    let models: Vec<Value> =
        (0..18).map(|at| json!({"model_name": format!("m{at}"), "litellm_params": {"model": format!("openai/m{at}")}})).collect();
    let (a, b) = ((1..10).map(|at| format!("m{at}")).collect::<Vec<_>>(), (10..18).map(|at| format!("m{at}")).collect::<Vec<_>>());
    let file = imported(&json!({"model_list": models, "router_settings": {"fallbacks": [{"m0": a}, {"m0": b}]}}).to_string());
    assert_eq!(targets(&config(&file), "m0").len(), 16);
    assert!(is_told(&file.left, "router_settings.fallbacks[1].m0[6]") && is_told(&file.left, "router_settings.fallbacks[1].m0[7]"));
    // a name behind a pattern, and a pattern behind a name
    let file = imported(
        "model_list:
- {model_name: 'openai/*', litellm_params: {model: 'openai/*'}}
- {model_name: a, litellm_params: {model: groq/a}}
- {model_name: b, litellm_params: {model: groq/b}}
litellm_settings: {fallbacks: [{a: [openai/gpt-4o]}, {b: ['openai/*']}, {'openai/*': [a]}]}",
    );
    let config = config(&file);
    assert_eq!(targets(&config, "a"), ["groq a", "openai gpt-4o"]);
    assert_eq!(targets(&config, "openai/*"), ["openai *", "groq a", "openai gpt-4o"]);
    assert_eq!(targets(&config, "b")[..1], ["groq b"]);
    assert!(why(&file.left, "litellm_settings.fallbacks[1].b[0]").contains("pattern"), "{:?}", file.left);
}

#[test]
fn bounds_never_hold_too_little_back() {
    let file = imported(
        "model_list:
- {model_name: a, litellm_params: {model: groq/a}, model_info: {max_output_tokens: 100, max_input_tokens: 1000}}
- {model_name: a, litellm_params: {model: groq/b}, model_info: {max_tokens: 300}}
- {model_name: c, litellm_params: {model: groq/c}, model_info: {max_tokens: 700, max_input_tokens: 10}}
- {model_name: d, litellm_params: {model: groq/d}}
- {model_name: e, litellm_params: {model: groq/e}, model_info: {max_tokens: 5}}
router_settings: {fallbacks: [{a: [c]}, {e: [d]}]}",
    );
    let bounds: Vec<_> = config(&file).models.iter().map(|model| (model.bounds.max_output_tokens, model.bounds.context_tokens)).collect();
    assert_eq!(bounds, [(Some(700), Some(1000)), (Some(700), Some(10)), (None, None), (None, None)]);
    for path in ["model_list[0].model_info", "model_list[4].model_info"] {
        assert!(is_told(&file.left, path), "{path}: {:#?}", file.left);
    }
}

#[test]
fn limits_of_deployments_are_added_up_only_where_all_have_one() {
    let parallel = |limits: [Option<u64>; 2]| {
        let models: Vec<Value> = limits
            .iter()
            .enumerate()
            .map(|(at, limit)| (format!("m{at}"), json!({"model": "openai/x", "max_parallel_requests": limit})))
            .map(|(name, params)| json!({"model_name": name, "litellm_params": params}))
            .collect();
        let file = imported(&json!({"model_list": models}).to_string());
        (config(&file).providers[0].settings.max_parallel, file.left.len())
    };
    assert_eq!(parallel([Some(3), Some(4)]), (Some(7), 2));
    assert_eq!(parallel([Some(3), None]), (None, 1));
    assert_eq!(parallel([None, None]), (None, 0));
}

#[test]
fn a_key_never_becomes_wider() {
    for (key, part) in [
        (json!({"blocked": true}), "blocked"),
        (json!({"blocked": "no"}), "blocked"),
        (json!({"duration": "30d"}), "expires"),
        (json!({"expires": "2026-01-01"}), "expires"),
        (json!({"models": ["no-default-models"]}), "no model"),
        (json!({"models": ["nowhere"]}), "none of the models"),
        (json!({"models": "m"}), "list"),
        (json!({"models": [1]}), "names"),
        (json!({"models": ["all-team-models"]}), "team"),
        (json!("key"), "map"),
    ] {
        let file = one_key(key.clone());
        assert!(config(&file).keys.is_empty() && why(&file.left, "keys[0]").contains(part), "{key}: {file:?}");
    }
    for (key, models) in [
        (json!({"models": []}), None),
        (json!({"models": ["all-proxy-models"]}), None),
        (json!({"models": ["m", "nowhere"]}), Some(vec!["m".to_owned()])),
        (json!({"models": ["openai/*"]}), Some(vec!["openai/*".to_owned()])),
        (json!({"models": ["openai/x"], "expires": null, "blocked": false}), Some(vec!["openai/x".to_owned()])),
    ] {
        assert_eq!(config(&one_key(key.clone())).keys[0].models, models, "{key}");
    }
    for team in
        [json!({"team_id": "t", "blocked": true}), json!({"team_id": "t", "models": 5}), json!({"team_id": "t", "models": ["nowhere"]})]
    {
        let model = json!({"model_name": "m", "litellm_params": {"model": "openai/m"}});
        let file = imported(&json!({"model_list": [model], "teams": [team], "keys": [{"team_id": "t", "models": ["m"]}]}).to_string());
        assert!(config(&file).keys.is_empty() && is_told(&file.left, "keys[0]"), "{team}: {file:?}");
    }
}

#[test]
fn secrets_are_kept_or_told() {
    let secret = |key: &str| {
        let file = one_key(json!({"key_alias": "k", "key": key}));
        let secret = config(&file).keys[0].secret.as_ref().and_then(Secret::given).map(str::to_owned);
        (secret, is_told(&file.left, "keys[0].key"))
    };
    for text in ["sk-1234567", "sk-$a${B}$$c", "sk-\"quoted\"'#: ,[]{}", "12345678", "true: no", "- ------", "*anchor*&", "\\x41\\n%@`!|>"]
    {
        let is_fit = !text.contains(' ');
        assert_eq!(secret(text), if is_fit { (Some(text.to_owned()), false) } else { (None, true) }, "{text}");
    }
    for text in ["short", "pässword", "os.environ/", "os.environ/A-B", &"0".repeat(64), &"x".repeat(257), "tab\tbed1"] {
        assert_eq!(secret(text), (None, true), "{text}");
    }
    let api_key = |key: Value| {
        let file = one_model(json!({"model": "openai/m", "api_key": key}), json!({}));
        (
            config(&file).providers[0].api_key.as_ref().and_then(Secret::given).map(str::to_owned),
            is_told(&file.left, "model_list[0].litellm_params.api_key"),
        )
    };
    assert_eq!(api_key(json!("sk-$x${y}")), (Some("sk-$x${y}".to_owned()), true));
    assert_eq!(api_key(json!("two words")), (None, true));
    assert_eq!(api_key(json!({"a": 1})), (None, true));
    assert_eq!(api_key(json!("")), (dummy("OPENAI_API_KEY"), false));
    let twice = json!({"keys": [{"key_alias": "a", "key": "sk-twice-1"}, {"key_alias": "b", "key": "sk-twice-1"}]});
    let file = imported(&twice.to_string());
    assert!(config(&file).keys[1].secret.is_none() && is_told(&file.left, "keys[1].key"));
}

const HOSTILE: [&str; 28] = [
    ": #",
    "a\nb: c",
    "\"",
    "'",
    "it's \"so\"",
    "null",
    "~",
    "true",
    "no",
    "1e5",
    "0x1F",
    "1_000",
    "2024-01-01",
    "1:30",
    ".inf",
    "- a",
    "*",
    "&a",
    "!!str x",
    "%YAML",
    "@at",
    "`tick`",
    "日本語",
    "e\u{301}\u{200b}\u{feff}",
    "a\u{85}b\u{2028}c\u{7f}",
    "${HOME}$$",
    "{a: [b]}",
    "default",
];

#[test]
fn hostile_names_are_quoted_and_stay_one_to_one() {
    let wanted = HOSTILE.map(str::to_owned);
    let models: Vec<Value> = wanted.iter().map(|name| json!({"model_name": name, "litellm_params": {"model": "openai/m"}})).collect();
    let named = |field: &str| -> Vec<Value> { wanted.iter().map(|name| json!({ field: name, "team_id": name })).collect() };
    let headers =
        json!({"model": "openai/h", "extra_headers": {"x-a": "a: #b \"c\" 'd' $e ${F}", "x-b": "no", "x-c": "1e5", "x-d": "a\nb"}});
    let mut file = json!({"model_list": models, "teams": named("team_alias"), "keys": named("key_alias")});
    file["model_list"].as_array_mut().unwrap().push(json!({"model_name": "h", "litellm_params": headers}));
    // YAML takes this letter only escaped
    let file = imported(&file.to_string().replace('\u{7f}', "\\u007f"));
    let config = config(&file);
    let count = |names: Vec<&str>| names.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!(count(config.models().collect()), HOSTILE.len() + 1, "{}", file.yaml);
    assert_eq!(count(config.scopes.iter().map(|scope| scope.name.as_str()).collect()), HOSTILE.len());
    assert_eq!(count(config.keys.iter().map(|key| key.name.as_str()).collect()), HOSTILE.len());
    assert!(config.keys.iter().zip(&config.scopes).all(|(key, scope)| key.scope == scope.name), "each key at its team");
    for (at, name) in HOSTILE.iter().enumerate().filter(|(_, name)| crate::values::model_name(name).is_ok()) {
        assert_eq!(config.models[at].name, *name, "a fit name stays");
    }
    let with_headers = config.providers.iter().find(|provider| !provider.settings.headers.is_empty()).unwrap();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let kept = [header("x-a", "a: #b \"c\" 'd' $e ${F}"), header("x-b", "no"), header("x-c", "1e5")];
    assert_eq!(with_headers.settings.headers, kept);
    assert!(is_told(&file.left, "model_list[28].litellm_params.extra_headers.x-d"));
}

#[test]
fn yaml_is_read_as_litellm_reads_it() {
    let file = imported(
        "x-common: &common {api_key: os.environ/KEY, timeout: 30}
model_list:
- model_name: a
  litellm_params: {<<: *common, model: openai/a, timeout: 45}
- model_name: b
  litellm_params:
    <<: *common
    model: openai/b
    api_version: 2024-02-01
keys: [{key_alias: 42, team_id: 7}]
teams: [{team_alias: seven, team_id: '7', max_budget: 1e2}]",
    );
    let config = config(&file);
    assert_eq!(config.providers[0].api_key.as_ref().and_then(Secret::given), Some("https://dummy.example/KEY"));
    assert_eq!(config.providers[0].settings.timeouts.total_ms, 45_000);
    assert_eq!((config.keys[0].name.as_str(), config.keys[0].scope.as_str()), ("42", "seven"));
    assert_eq!(config.scopes[0].budgets[0].terms.limit, Money::usd(100).0);
    for empty in ["", "{}", "model_list:\nrouter_settings: {}\nkeys: []", "# nothing"] {
        let file = imported(empty);
        assert!(config_is_empty(&super::tests::config(&file)) && file.left.is_empty(), "{empty}: {file:?}");
    }
    for bad in ["[]", "text", "a: [", "a: 1\na: 2", "5"] {
        assert!(import(bad).is_err(), "{bad}");
    }
}

fn config_is_empty(config: &Config) -> bool {
    config.providers.is_empty() && config.models.is_empty() && config.tenants.is_empty() && config.keys.is_empty()
}

#[test]
fn an_import_is_the_same_each_time_and_small_ones_say_nothing() {
    assert_eq!(imported(FULL), imported(FULL));
    let file = one_model(json!({"model": "openai/gpt-4o", "api_key": "os.environ/OPENAI_API_KEY"}), json!({"mode": "chat"}));
    assert_eq!(file.left, []);
    assert!(file.yaml.contains("${OPENAI_API_KEY}"), "{}", file.yaml);
}

/// Texts that stand well somewhere and badly elsewhere.
const TEXTS: &str = "|m|n|*|m*|**|openai/*|openai/m|azure/x|anthropic/claude|gemini/g|bedrock/x|os.environ/VAR|os.environ/|os.environ/A B|\
https://a.example/v1|http://169.254.169.254|30d|1mo|1h|9y|1e-06|-1|all-team-models|default|t|k|sk-12345678|${X}|$$|a: #|é|embedding|no";
const FIELDS: &str = "model_list model_name litellm_params model api_base api_key api_version timeout order model_info mode max_tokens \
extra_headers organization router_settings fallbacks model_group_alias default_fallbacks litellm_settings keys teams team_id team_alias \
key_alias key models max_budget budget_duration model_max_budget provider_budget_config openai budget_limit time_period rpm_limit \
credential_list credential_name credential_values litellm_credential_name m n * input_cost_per_token output_cost_per_token \
max_parallel_requests max_output_tokens max_input_tokens request_timeout blocked custom_llm_provider unknown";

fn odd_leaf() -> impl Strategy<Value = Value> {
    let numbers = [json!(0), json!(1), json!(-1), json!(1e-7), json!(2.5), json!(1e300), json!(u64::MAX)];
    prop_oneof![
        6 => prop::sample::select(TEXTS.split('|').collect::<Vec<_>>()).prop_map(|text| json!(text)),
        2 => prop::sample::select(numbers.to_vec()),
        1 => prop::sample::select(vec![json!(null), json!(true), json!(false)]),
    ]
}

fn odd() -> impl Strategy<Value = Value> {
    odd_leaf().prop_recursive(4, 24, 4, |inner| prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::Array), odd_map(inner)])
}

fn odd_map(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let pair = (prop::sample::select(FIELDS.split(' ').collect::<Vec<_>>()), inner);
    vec(pair, 0..5).prop_map(|pairs| Value::Object(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

/// Models with names, so that much of it is taken over; and keys, teams and fallbacks that are for them.
fn odd_file() -> impl Strategy<Value = Value> {
    let model = (odd_leaf(), odd_leaf(), odd_map(odd_leaf()), odd_map(odd_leaf())).prop_map(|(name, model, mut params, info)| {
        params["model"] = model;
        json!({"model_name": name, "litellm_params": params, "model_info": info})
    });
    let fallback = (odd_leaf(), vec(odd_leaf(), 0..4)).prop_map(|(from, to)| json!({from.as_str().unwrap_or("m"): to}));
    let lists = (vec(model, 0..8), vec(odd_map(odd()), 0..4), vec(odd_map(odd()), 0..4), vec(fallback, 0..4), odd_map(odd()));
    lists.prop_map(|(models, keys, teams, fallbacks, mut router)| {
        router["fallbacks"] = json!(fallbacks);
        json!({"model_list": models, "keys": keys, "teams": teams, "router_settings": router})
    })
}

/// What comes out can be read and planned, whatever went in.
fn try_import(text: &str) {
    if let Ok(file) = import(text) {
        let filled = fill(&file.yaml, &dummy).unwrap_or_else(|problems| panic!("{problems:?}\n{text}\n{}", file.yaml));
        let planned = World::new().plan(&filled, false).err().unwrap_or_default();
        // more budgets than a path may hold are the only thing that is not seen before
        assert!(planned.iter().all(|problem| problem.message.contains("may be covered by")), "{planned:?}\n{text}\n{}", file.yaml);
        let parsed = parse(&file.yaml, &dummy);
        assert!(parsed.is_ok(), "{:?}\n{text}\n{}", parsed.err(), file.yaml);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_models_keys_and_teams_become_one(file in odd_file()) {
        try_import(&file.to_string());
    }

    #[test]
    fn any_tree_becomes_a_file_that_can_be_read(tree in odd()) {
        try_import(&tree.to_string());
    }
}

proptest! {
    // each case is a whole file, read three times
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_real_file_with_odd_values_becomes_one_too(changes in vec((any::<Index>(), odd()), 1..6)) {
        let mut file = full();
        for (index, value) in changes {
            let (mut maps, mut leaves) = (Vec::new(), Vec::new());
            places(&file, "", &mut maps, &mut leaves);
            maps.append(&mut leaves);
            let simple: Vec<String> = maps.into_iter().filter(|path| !path.contains(['\n', '$', ' '])).collect();
            let Some(path) = simple.get(index.index(simple.len().max(1))) else { break };
            *at(&mut file, path) = value;
        }
        try_import(&file.to_string());
    }

    #[test]
    fn any_text_is_refused_or_becomes_a_file(text in "[ -~\n\t\u{80}-\u{ffff}]{0,200}") {
        try_import(&text);
    }

    #[test]
    fn any_names_do(names in vec("\\PC{0,140}", 1..6)) {
        let params = |name: &str| json!({"model": format!("openai/{name}"), "api_key": name});
        let models: Vec<Value> = names.iter().map(|name| json!({"model_name": name, "litellm_params": params(name)})).collect();
        let keys: Vec<Value> = names.iter().map(|name| json!({"key_alias": name, "key": name, "team_id": name, "models": names})).collect();
        let teams: Vec<Value> = names.iter().map(|name| json!({"team_alias": name, "team_id": name, "metadata": {name: 1}})).collect();
        try_import(&json!({"model_list": models, "keys": keys, "teams": teams}).to_string());
    }
}

#[test]
fn what_a_budget_refuses_for_want_of_a_price_is_told() {
    let models = |price: &str| {
        format!(
            "model_list:\n- {{model_name: own, litellm_params: {{model: hosted_vllm/own-7b, api_base: \"https://vllm.example/v1\"{price}}}}}\n\
             - {{model_name: known, litellm_params: {{model: openai/gpt-4o, api_key: sk-x}}}}\n"
        )
    };
    let told = |text: &str| -> Vec<String> {
        let left = imported(text).left;
        left.into_iter().filter(|problem| problem.message.contains("no price")).map(|problem| problem.path).collect()
    };
    let budget = "litellm_settings: {max_budget: 1000, budget_duration: 30d}\n";
    assert_eq!(told(&format!("{}{budget}", models(""))), ["model_list.own"]);
    assert_eq!(told(&models("")), [""; 0], "nothing counts dollars");
    let priced = models(", input_cost_per_token: 0.000001, output_cost_per_token: 0.000002");
    assert_eq!(told(&format!("{priced}{budget}")), [""; 0]);
}
