//! With no file: the providers whose usual variables are set.

use crate::{
    config::{Config, Key, Model, Provider, Secret, Target, Tenant},
    values,
};
use dialects::providers::{self, Known};
use events::{Rates, price::Bounds, provider};

/// With no file: each provider whose usual variable is set, and a tenant `default` with a key `default`. A variable that holds no
/// usable secret is as good as none.
pub fn from_environment(vars: &dyn Fn(&str) -> Option<String>) -> Config {
    let mut config = Config { tenants: vec![tenant()], keys: vec![key()], ..Config::default() };
    for known in providers::all() {
        let Some(variable) = &known.variable else { continue };
        let Some(secret) = vars(variable).map(|value| value.trim().to_owned()).filter(|value| values::api_key(value).is_ok()) else {
            continue;
        };
        config.providers.push(provider(known, variable, secret));
        config.models.extend(known.models.iter().map(|pattern| model(known, variable, pattern)));
    }
    config
}

fn provider(known: &Known, variable: &str, secret: String) -> Provider {
    let settings = provider::Settings {
        name: known.name.clone(),
        dialect: known.dialect().map_or_else(String::new, |dialect| dialect.as_str().to_owned()),
        base_url: known.base_url.clone(),
        ..provider::Settings::default()
    };
    Provider { path: format!("${{{variable}}}"), settings, tenant: None, api_key: Some(Secret::Given(secret)) }
}

fn model(known: &Known, variable: &str, pattern: &str) -> Model {
    let path = format!("${{{variable}}}");
    let target = Target { path: path.clone(), provider: known.name.clone(), model: pattern.into(), price: None };
    Model { path, name: pattern.into(), targets: vec![target], price: None, bounds: Bounds::default() }
}

fn tenant() -> Tenant {
    Tenant {
        path: "tenants[0]".into(),
        name: "default".into(),
        rates: Rates::default(),
        loss: None,
        request_log: None,
        budgets: Vec::new(),
    }
}

fn key() -> Key {
    Key {
        path: "keys[0]".into(),
        name: "default".into(),
        scope: "default".into(),
        models: None,
        rates: Rates::default(),
        loss: None,
        request_log: None,
        budgets: Vec::new(),
        secret: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_whose_variable_is_set_is_there() {
        let vars = |name: &str| match name {
            "OPENAI_API_KEY" => Some(" sk-openai\n".to_owned()),
            "ANTHROPIC_API_KEY" => Some(String::new()),
            "GROQ_API_KEY" => Some("gsk with a space".to_owned()),
            "XAI_API_KEY" => Some("xai-1".to_owned()),
            _ => None,
        };
        let config = from_environment(&vars);
        assert_eq!(config.providers().collect::<Vec<_>>(), ["openai", "xai"]);
        assert_eq!(config.providers[0].api_key, Some(Secret::Given("sk-openai".into())));
        assert_eq!(
            (config.tenants[0].name.as_str(), config.keys[0].name.as_str(), config.keys[0].scope.as_str()),
            ("default", "default", "default")
        );
        assert!(config.models().any(|name| name == "gpt-*") && !config.models().any(|name| name == "claude-*"));
        assert!(!format!("{config:?}").contains("sk-openai"));
    }

    #[test]
    fn what_is_known_would_pass_the_checks_of_a_file() {
        let known: Vec<&Known> = providers::all().iter().collect();
        for known in &known {
            assert_eq!(values::base_url(&known.base_url).as_deref(), Ok(known.base_url.as_str()));
            assert!(values::name(&known.name).is_ok() && known.dialect().is_some());
            assert!(known.models.iter().all(|model| values::model_name(model).is_ok()));
        }
        assert!(known[2..].windows(2).all(|pair| pair[0].name < pair[1].name), "in order, each once");
    }
}
