//! With no file: the providers whose usual variables are set.

use crate::{
    config::{Config, Key, Model, Provider, Secret, Target, Tenant},
    values,
};
use events::{Rates, price::Bounds, provider};

/// A provider that is found by its variable.
struct Known {
    variable: &'static str,
    name: &'static str,
    dialect: &'static str,
    base_url: &'static str,
    /// Names of models that need no `provider/` in front.
    models: &'static [&'static str],
}

const fn openai(variable: &'static str, name: &'static str, base_url: &'static str) -> Known {
    Known { variable, name, dialect: "openai", base_url, models: &[] }
}

const KNOWN: &[Known] = &[
    Known {
        models: &["gpt-*", "chatgpt-*", "o1*", "o3*", "o4*", "codex-*", "text-embedding-*", "babbage-*", "davinci-*", "ft:*"],
        ..openai("OPENAI_API_KEY", "openai", "https://api.openai.com/v1")
    },
    Known {
        variable: "ANTHROPIC_API_KEY",
        name: "anthropic",
        dialect: "anthropic",
        base_url: "https://api.anthropic.com/v1",
        models: &["claude-*"],
    },
    openai("CEREBRAS_API_KEY", "cerebras", "https://api.cerebras.ai/v1"),
    openai("DEEPINFRA_API_KEY", "deepinfra", "https://api.deepinfra.com/v1/openai"),
    openai("DEEPSEEK_API_KEY", "deepseek", "https://api.deepseek.com/v1"),
    openai("FIREWORKS_API_KEY", "fireworks", "https://api.fireworks.ai/inference/v1"),
    openai("GEMINI_API_KEY", "gemini", "https://generativelanguage.googleapis.com/v1beta/openai"),
    openai("GROQ_API_KEY", "groq", "https://api.groq.com/openai/v1"),
    openai("HF_TOKEN", "huggingface", "https://router.huggingface.co/v1"),
    openai("MISTRAL_API_KEY", "mistral", "https://api.mistral.ai/v1"),
    openai("MOONSHOT_API_KEY", "moonshot", "https://api.moonshot.ai/v1"),
    openai("NVIDIA_API_KEY", "nvidia", "https://integrate.api.nvidia.com/v1"),
    openai("OPENROUTER_API_KEY", "openrouter", "https://openrouter.ai/api/v1"),
    openai("PERPLEXITY_API_KEY", "perplexity", "https://api.perplexity.ai"),
    openai("SAMBANOVA_API_KEY", "sambanova", "https://api.sambanova.ai/v1"),
    openai("TOGETHER_API_KEY", "together", "https://api.together.xyz/v1"),
    openai("XAI_API_KEY", "xai", "https://api.x.ai/v1"),
];

/// With no file: each provider whose usual variable is set, and a tenant `default` with a key `default`. A variable that holds no
/// usable secret is as good as none.
pub fn from_environment(vars: &dyn Fn(&str) -> Option<String>) -> Config {
    let mut config = Config { tenants: vec![tenant()], keys: vec![key()], ..Config::default() };
    for known in KNOWN {
        let Some(secret) = vars(known.variable).map(|value| value.trim().to_owned()).filter(|value| values::api_key(value).is_ok()) else {
            continue;
        };
        config.providers.push(provider(known, secret));
        config.models.extend(known.models.iter().map(|pattern| model(known, pattern)));
    }
    config
}

fn provider(known: &Known, secret: String) -> Provider {
    let settings = provider::Settings {
        name: known.name.into(),
        dialect: known.dialect.into(),
        base_url: known.base_url.into(),
        ..provider::Settings::default()
    };
    Provider { path: format!("${{{}}}", known.variable), settings, tenant: None, api_key: Some(Secret(secret)) }
}

fn model(known: &Known, pattern: &str) -> Model {
    let path = format!("${{{}}}", known.variable);
    let target = Target { path: path.clone(), provider: known.name.into(), model: pattern.into(), price: None };
    Model { path, name: pattern.into(), targets: vec![target], price: None, bounds: Bounds::default() }
}

fn tenant() -> Tenant {
    Tenant { path: "tenants[0]".into(), name: "default".into(), rates: Rates::default(), budgets: Vec::new() }
}

fn key() -> Key {
    Key {
        path: "keys[0]".into(),
        name: "default".into(),
        scope: "default".into(),
        models: None,
        rates: Rates::default(),
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
        assert_eq!(config.providers[0].api_key, Some(Secret("sk-openai".into())));
        assert_eq!(
            (config.tenants[0].name.as_str(), config.keys[0].name.as_str(), config.keys[0].scope.as_str()),
            ("default", "default", "default")
        );
        assert!(config.models().any(|name| name == "gpt-*") && !config.models().any(|name| name == "claude-*"));
        assert!(!format!("{config:?}").contains("sk-openai"));
    }

    #[test]
    fn what_is_known_would_pass_the_checks_of_a_file() {
        for known in KNOWN {
            assert_eq!(values::base_url(known.base_url).as_deref(), Ok(known.base_url));
            assert!(values::name(known.name).is_ok() && known.dialect.parse::<dialects::Dialect>().is_ok());
            assert!(known.models.iter().all(|model| values::model_name(model).is_ok()));
        }
        assert!(KNOWN[2..].windows(2).all(|pair| pair[0].name < pair[1].name), "in order, each once");
    }
}
