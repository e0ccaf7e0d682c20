//! What a change took the place of, in the words of the change itself: the event that would bring it back.

use events::{Event, State, budget, catalogue, key, model, policy, provider, scope, tenant, webhook};

/// None: there was nothing before it, or it changes no setting.
pub(crate) fn before(event: &Event, state: &State) -> Option<Event> {
    let books = &state.books;
    match event {
        Event::Tenant(id, event) => {
            let before = books.tenants.get(id)?;
            matches!(event, tenant::Event::RatesSet { .. }).then(|| Event::Tenant(*id, tenant::Event::RatesSet { rates: before.rates }))
        }
        Event::Scope(id, event) => Some(Event::Scope(*id, scope(event, books.scopes.get(id)?)?)),
        Event::Key(id, event) => Some(Event::Key(*id, key(event, books.keys.get(id)?)?)),
        Event::Provider(id, event) => Some(Event::Provider(*id, provider(event, books.providers.get(id)?)?)),
        Event::Model(id, _) => {
            let before = books.models.get(id).filter(|model| model.made && !model.removed)?;
            Some(Event::Model(*id, model::Event::Set(before.settings.clone())))
        }
        Event::Catalogue(event) => Some(Event::Catalogue(catalogue(event, books.catalogue.get(&())?)?)),
        Event::Budget(id, event) => Some(Event::Budget(*id, budget(event, books.budgets.get(id)?)?)),
        Event::Policy(owner, _) => {
            let before = books.policies.get(owner)?;
            Some(Event::Policy(*owner, policy::Event::Set(before.settings.clone())))
        }
        Event::Webhook(id, event) => Some(Event::Webhook(*id, webhook(event, books.webhooks.get(id)?)?)),
        Event::Node(..) | Event::Call(..) | Event::Token(..) | Event::Alert(..) => None,
    }
}

fn scope(event: &scope::Event, before: &scope::Scope) -> Option<scope::Event> {
    match event {
        scope::Event::Moved { .. } => Some(scope::Event::Moved { parent: before.parent }),
        scope::Event::KindSet { .. } => Some(scope::Event::KindSet { kind: before.kind.clone() }),
        scope::Event::RatesSet { .. } => Some(scope::Event::RatesSet { rates: before.rates }),
        scope::Event::Created(_) | scope::Event::Closed => None,
    }
}

fn key(event: &key::Event, before: &key::Key) -> Option<key::Event> {
    match event {
        key::Event::Moved { .. } => Some(key::Event::Moved { scope: before.scope }),
        key::Event::ModelsSet { .. } => Some(key::Event::ModelsSet { models: before.models.clone() }),
        key::Event::RatesSet { .. } => Some(key::Event::RatesSet { rates: before.rates }),
        key::Event::SecretSet { .. } | key::Event::Rotated { .. } => {
            Some(key::Event::SecretSet { secret: key::Secret { hash: before.hash, hint: before.hint.clone() } })
        }
        key::Event::Created { .. } | key::Event::Blocked | key::Event::Unblocked | key::Event::Revoked => None,
    }
}

fn provider(event: &provider::Event, before: &provider::Provider) -> Option<provider::Event> {
    match event {
        provider::Event::Changed(_) => Some(provider::Event::Changed(before.settings.clone())),
        provider::Event::SecretSet { .. } => before.secret.map(|digest| provider::Event::SecretSet { digest }),
        provider::Event::Created(_) | provider::Event::Closed => None,
    }
}

fn webhook(event: &webhook::Event, before: &webhook::Webhook) -> Option<webhook::Event> {
    match event {
        webhook::Event::Changed(_) => Some(webhook::Event::Changed(before.settings.clone())),
        webhook::Event::SecretSet { .. } => before.secret.map(|digest| webhook::Event::SecretSet { digest }),
        webhook::Event::Created(_) | webhook::Event::Closed => None,
    }
}

fn catalogue(event: &catalogue::Event, before: &catalogue::Catalogue) -> Option<catalogue::Event> {
    match event {
        catalogue::Event::EditionSet { .. } => Some(catalogue::Event::EditionSet { edition: before.edition.clone() }),
        catalogue::Event::EntrySet { name, .. } | catalogue::Event::EntryRemoved { name } => {
            let entry = before.entries.get(name)?.clone();
            Some(catalogue::Event::EntrySet { name: name.clone(), entry })
        }
    }
}

fn budget(event: &budget::Event, before: &budget::Budget) -> Option<budget::Event> {
    match event {
        budget::Event::LimitSet { .. } => Some(budget::Event::LimitSet { limit: before.terms.limit }),
        budget::Event::TermsSet { .. } => {
            Some(budget::Event::TermsSet { hard: before.terms.hard, alert_at_ppm: before.terms.alert_at_ppm.clone() })
        }
        budget::Event::Opened { .. } | budget::Event::Closed | budget::Event::Reopened | budget::Event::Alerted { .. } => None,
    }
}
