//! The file that is written, field by field as it is read by [`crate::parse`].

use serde::Serialize;
use std::collections::BTreeMap;

/// Figures by the names of their fields.
pub(super) type Figures = BTreeMap<&'static str, String>;

#[derive(Serialize)]
pub(super) struct File {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<Provider>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<Tenant>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
}

#[derive(Serialize)]
pub(super) struct Provider {
    pub name: String,
    pub dialect: &'static str,
    pub base_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub timeouts: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel_requests: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Model {
    pub name: String,
    pub targets: Vec<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
}

#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Target {
    pub provider: String,
    pub model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Figures>,
}

#[derive(Serialize)]
pub(super) struct Tenant {
    pub name: &'static str,
}

#[derive(Default, Serialize)]
pub(super) struct Rates {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpm_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel_requests: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Scope {
    pub name: String,
    pub kind: &'static str,
    pub parent: &'static str,
    #[serde(flatten)]
    pub rates: Rates,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
}

#[derive(Serialize)]
pub(super) struct Key {
    pub name: String,
    pub scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    #[serde(flatten)]
    pub rates: Rates,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Budget {
    pub limit: String,
    pub every: &'static str,
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub only: Filter,
}

/// What a budget counts; empty: everything.
#[derive(Clone, Default, PartialEq, Serialize)]
pub(super) struct Filter {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.models.is_empty() && self.providers.is_empty()
    }
}

impl File {
    pub fn yaml(&self) -> String {
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        serde_saphyr::to_string_with_options(self, options).expect("texts, numbers, lists and maps of them can be written")
    }
}
