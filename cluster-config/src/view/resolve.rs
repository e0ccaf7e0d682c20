//! From the name that a caller gives to the providers' models that can answer, in order.

use super::{EntryView, ModelView, Principal, ProviderView, TargetView, View};
use crate::{catalogue, pattern, problem};
use dialects::Dialect;
use events::price::{Bounds, Price};
use std::{collections::BTreeMap, sync::Arc};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// At least one, in order.
    pub candidates: Vec<Candidate>,
}

/// One provider's model.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub provider: Arc<ProviderView>,
    /// The provider's own name of it.
    pub model: String,
    /// None: nobody knows what it costs.
    pub price: Option<Arc<Price>>,
    pub bounds: Bounds,
}

/// Why a name stands for nothing that the key can call here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRefusal {
    /// `near`: like names that the key may use.
    NotFound {
        near: Vec<String>,
    },
    NotAllowed,
    /// The providers behind it speak another dialect.
    OtherDialect {
        model: String,
        speaks: Dialect,
    },
}

/// A model that a key may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// As the caller gives it.
    pub name: String,
    /// The first provider behind it.
    pub provider: String,
    /// What that provider speaks.
    pub speaks: Dialect,
    pub bounds: Bounds,
}

/// What says what a model costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PriceSource {
    Target,
    Model,
    Catalogue,
    Provider,
}

impl PriceSource {
    pub fn as_str(self) -> &'static str {
        match self {
            PriceSource::Target => "target",
            PriceSource::Model => "model",
            PriceSource::Catalogue => "catalogue",
            PriceSource::Provider => "provider",
        }
    }
}

/// A candidate, and where its price comes from; None: it has none.
pub type Priced = (Candidate, Option<PriceSource>);

/// A target of which the provider is open to the key's tenant.
pub(super) struct Target<'a> {
    pub provider: &'a Arc<ProviderView>,
    pub model: String,
    entry: Option<&'a ModelView>,
    price: Option<&'a Arc<Price>>,
}

impl View {
    /// What a name stands for: an exact name, else the most specific wildcard, else `provider/model`. An entry of which no provider is
    /// open to the key's tenant is as good as none.
    ///
    /// # Errors
    /// See [`ModelRefusal`]. A name that the key may not use is told apart from one that there is not, for keys belong to people who
    /// know each other; what belongs to another tenant is not there.
    pub fn resolve(&self, principal: &Principal, model: &str, speaks: impl Fn(Dialect) -> bool) -> Result<Resolved, ModelRefusal> {
        let mut targets = self.targets(principal, model);
        if targets.is_empty() {
            let listed = self.models(principal);
            return Err(ModelRefusal::NotFound { near: problem::near(model, listed.iter().map(|listing| listing.name.as_str())) });
        }
        targets.retain(|target| may_use(principal, model, target));
        let Some(other) = targets.first().map(|target| target.provider.dialect) else { return Err(ModelRefusal::NotAllowed) };
        targets.retain(|target| speaks(target.provider.dialect));
        if targets.is_empty() {
            return Err(ModelRefusal::OtherDialect { model: model.to_owned(), speaks: other });
        }
        Ok(Resolved { candidates: targets.into_iter().map(|target| self.candidate(target)).collect() })
    }

    /// What the key may use, in the order of names: the configured names; behind wildcards the catalogue's models of that dialect; and
    /// `provider/model` for them where the provider is the dialect's own (elsewhere nobody knows what there is).
    pub fn models(&self, principal: &Principal) -> Vec<Listing> {
        let mut listed = BTreeMap::new();
        for name in self.models.keys() {
            self.list(principal, name, &mut listed);
        }
        for model in self.wildcards.values() {
            for target in model.targets.iter().filter(|target| pattern::is_wild(&target.model)) {
                let Some(provider) = self.providers.get(&target.provider).filter(|provider| is_open(principal, provider)) else { continue };
                // what the star must stand for, if the target is to be this model of the catalogue
                let stars = self.catalogued(provider.dialect).filter_map(|known| pattern::matched(&target.model, known));
                stars.for_each(|star| self.list(principal, &pattern::filled(&model.name, star), &mut listed));
            }
        }
        for provider in self.providers.values().filter(|provider| is_own(provider)) {
            for known in self.catalogued(provider.dialect) {
                self.list(principal, &format!("{}/{known}", provider.name), &mut listed);
            }
        }
        listed.into_values().collect()
    }

    /// What each candidate of a name costs a key, and who says so; as [`View::resolve`] does it, without near names.
    pub fn prices(&self, principal: &Principal, model: &str) -> Vec<Priced> {
        let mut targets = self.targets(principal, model);
        targets.retain(|target| may_use(principal, model, target));
        let priced = |target: Target<'_>| {
            let source = self.price(&target).map(|(source, _)| source);
            (self.candidate(target), source)
        };
        targets.into_iter().map(priced).collect()
    }

    fn list(&self, principal: &Principal, name: &str, listed: &mut BTreeMap<String, Listing>) {
        if listed.contains_key(name) {
            return;
        }
        let target = self.targets(principal, name).into_iter().find(|target| may_use(principal, name, target));
        if let Some(target) = target {
            let Candidate { provider, bounds, .. } = self.candidate(target);
            let listing = Listing { name: name.to_owned(), provider: provider.name.clone(), speaks: provider.dialect, bounds };
            listed.insert(name.to_owned(), listing);
        }
    }

    /// Models of the catalogue that a provider of this dialect can be asked for by name.
    fn catalogued(&self, dialect: Dialect) -> impl Iterator<Item = &str> {
        let names = self.catalogue.keys().filter_map(move |name| name.strip_prefix(dialect.as_str())?.strip_prefix('/'));
        names.filter(|name| !name.starts_with("ft:"))
    }

    /// All targets of a name that are open to the key's tenant, in order.
    pub(super) fn targets(&self, principal: &Principal, name: &str) -> Vec<Target<'_>> {
        let exact = self.models.get(name).map(|model| (model, ""));
        let wild = self.wildcards.values().filter_map(|model| Some((model, pattern::matched(&model.name, name)?)));
        for (model, star) in exact.into_iter().chain(wild) {
            let targets: Vec<Target<'_>> = model.targets.iter().filter_map(|target| self.target(principal, model, target, star)).collect();
            if !targets.is_empty() {
                return targets;
            }
        }
        let routed = name.split_once('/').and_then(|(provider, model)| Some((self.provider(provider)?, model)));
        let routed = routed.filter(|(provider, model)| is_open(principal, provider) && !model.is_empty());
        routed.map(|(provider, model)| Target { provider, model: model.to_owned(), entry: None, price: None }).into_iter().collect()
    }

    fn target<'a>(&'a self, principal: &Principal, model: &'a ModelView, target: &'a TargetView, star: &str) -> Option<Target<'a>> {
        let provider = self.providers.get(&target.provider).filter(|provider| is_open(principal, provider))?;
        Some(Target { provider, model: pattern::filled(&target.model, star), entry: Some(model), price: target.price.as_ref() })
    }

    /// The target's price, else the model's, else the catalogue's, else the provider's.
    fn price<'a>(&'a self, target: &Target<'a>) -> Option<(PriceSource, &'a Arc<Price>)> {
        let of_entry = || target.entry.and_then(|entry| entry.price.as_ref());
        let of_catalogue = || self.entry(target.provider.dialect, &target.model).and_then(|known| known.price.as_ref());
        let of_target = target.price.map(|price| (PriceSource::Target, price));
        of_target
            .or_else(|| of_entry().map(|price| (PriceSource::Model, price)))
            .or_else(|| of_catalogue().map(|price| (PriceSource::Catalogue, price)))
            .or_else(|| target.provider.price.as_ref().map(|price| (PriceSource::Provider, price)))
    }

    /// With the price that is in force; bounds likewise.
    fn candidate(&self, target: Target<'_>) -> Candidate {
        let known = self.entry(target.provider.dialect, &target.model);
        let price = self.price(&target).map(|(_, price)| price.clone());
        let own = target.entry.map(|entry| entry.bounds).unwrap_or_default();
        let shipped = known.map(|known| known.bounds).unwrap_or_default();
        let bounds = Bounds {
            max_output_tokens: own.max_output_tokens.or(shipped.max_output_tokens),
            context_tokens: own.context_tokens.or(shipped.context_tokens),
        };
        Candidate { provider: target.provider.clone(), model: target.model, price, bounds }
    }

    fn entry(&self, dialect: Dialect, model: &str) -> Option<&EntryView> {
        let mut names = catalogue::spellings(model).into_iter();
        names.find_map(|name| self.catalogue.get(&format!("{}/{name}", dialect.as_str()))).map(Arc::as_ref)
    }
}

fn is_open(principal: &Principal, provider: &ProviderView) -> bool {
    provider.settings.tenant.is_none_or(|tenant| tenant == principal.tenant)
}

/// The key's list names what was asked for, or the provider's model behind it.
fn may_use(principal: &Principal, asked: &str, target: &Target<'_>) -> bool {
    let Some(models) = &principal.models else { return true };
    pattern::any(models, asked) || pattern::any(models, &format!("{}/{}", target.provider.name, target.model))
}

/// The provider that a dialect is named after.
fn is_own(provider: &ProviderView) -> bool {
    let host = match provider.dialect {
        Dialect::OpenAi => "https://api.openai.com",
        Dialect::Anthropic => "https://api.anthropic.com",
    };
    provider.settings.base_url.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
