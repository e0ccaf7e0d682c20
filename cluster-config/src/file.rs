//! The file as it is written, part by part in the order in which it is read best. [`crate::parse`] reads the same fields; what is
//! left out here has its default there.

use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;

/// A configuration to be written. As JSON it is what its [`Serialize`] gives, as YAML [`File::yaml`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct File {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) providers: Vec<Provider>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) models: Vec<Model>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tenants: Vec<Tenant>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) scopes: Vec<Scope>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<Key>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) budgets: Vec<Budget>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) webhooks: Vec<Webhook>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_log: Option<RequestLog>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Provider {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    pub dialect: String,
    pub base_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Figures::is_empty")]
    pub timeouts: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel_requests: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_client_gone: Option<&'static str>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Webhook {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Vec<&'static str>>,
    pub secret: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Model {
    pub name: String,
    pub targets: Vec<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Target {
    pub provider: String,
    pub model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Price {
    #[serde(flatten)]
    pub figures: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long: Option<Long>,
    /// By service tier; a tier holds no tiers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, Price>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Long {
    pub above_tokens: u64,
    #[serde(flatten)]
    pub figures: Figures,
}

/// Figures by the names of their fields, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures(pub Vec<(&'static str, String)>);

impl Figures {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(&'static str, String)> for Figures {
    fn from_iter<I: IntoIterator<Item = (&'static str, String)>>(figures: I) -> Figures {
        Figures(figures.into_iter().collect())
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(field, figure)| (field, figure)))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Tenant {
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    #[serde(flatten)]
    pub rates: Rates,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_log: Option<RequestLog>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Rates {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel_requests: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Scope {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub parent: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    #[serde(flatten)]
    pub rates: Rates,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_log: Option<RequestLog>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Key {
    pub name: String,
    pub scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    #[serde(flatten)]
    pub rates: Rates,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_log: Option<RequestLog>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct RequestLog {
    pub log: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bodies: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<&'static str>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Budget {
    pub limit: String,
    pub every: &'static str,
    /// None: it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alert_at: Vec<String>,
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub only: Filter,
}

/// What a budget counts; empty: everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Filter {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.models.is_empty() && self.providers.is_empty() && self.tags.is_empty()
    }
}

impl File {
    /// The file as text.
    pub fn yaml(&self) -> String {
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        serde_saphyr::to_string_with_options(self, options).expect("texts, numbers, lists and maps of them can be written")
    }
}

/// What the file says, from JSON: of each map `name` first, which says whose the rest is.
pub fn yaml(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&Named(value), options).expect("texts, numbers, lists and maps of them can be written")
}

/// See [`yaml`].
struct Named<'a>(&'a Value);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let named = members.get_key_value("name");
                let rest = members.iter().filter(|(member, _)| *member != "name");
                serializer.collect_map(named.into_iter().chain(rest).map(|(member, value)| (member, Named(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Named)),
            other => other.serialize(serializer),
        }
    }
}

/// A text with its dollar signs escaped: none begins a variable.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

/// A time as the file says it.
pub(crate) fn duration(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}
