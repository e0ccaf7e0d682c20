use super::*;
use crate::given::{NOW, given};

fn settings() -> Settings {
    Settings { tenant: TenantId(1), parent: Some(ScopeId(2)), name: "search".into(), kind: "team".into(), rates: Rates::default() }
}

#[test]
fn it_is_made_as_it_was_told() {
    let scope = given::<Scope>([]).when(Command::Set(settings())).then([Event::Created(settings())]);
    assert_eq!((scope.tenant, scope.parent, scope.name.as_str(), scope.kind.as_str()), (TenantId(1), Some(ScopeId(2)), "search", "team"));
    assert_eq!((scope.made_at, scope.made, scope.closed), (NOW, true, false));
}

#[test]
fn only_what_differs_is_an_event() {
    given::<Scope>([Event::Created(settings())]).when(Command::Set(settings())).then([]);
    let rates = Rates { tpm: Some(9), ..Rates::default() };
    let other = Settings { parent: None, kind: "user".into(), rates, ..settings() };
    let events = [Event::Moved { parent: None }, Event::KindSet { kind: "user".into() }, Event::RatesSet { rates }];
    let scope = given::<Scope>([Event::Created(settings())]).when(Command::Set(other)).then(events);
    assert_eq!((scope.parent, scope.kind.as_str(), scope.rates), (None, "user", rates));
}

#[test]
fn it_never_goes_to_another_tenant() {
    let other = Settings { tenant: TenantId(9), ..settings() };
    given::<Scope>([Event::Created(settings())])
        .when(Command::Set(other))
        .refused(Refusal::Invalid("a scope cannot change its tenant".into()));
}

#[test]
fn closing_is_final() {
    assert!(given::<Scope>([Event::Created(settings())]).when(Command::Close).then([Event::Closed]).closed);
    given::<Scope>([Event::Created(settings()), Event::Closed]).when(Command::Set(settings())).refused(Refusal::Closed);
    given::<Scope>([]).when(Command::Close).refused(Refusal::Unknown);
}
