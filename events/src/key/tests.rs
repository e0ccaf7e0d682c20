use super::*;
use crate::given::given;

fn settings() -> Settings {
    Settings {
        tenant: TenantId(1),
        scope: Some(ScopeId(2)),
        name: "search-prod".into(),
        models: Some(vec!["fast".into()]),
        rates: Rates::default(),
    }
}

fn secret(byte: u8) -> Secret {
    Secret { hash: KeyHash([byte; 32]), hint: format!("…{byte:04}") }
}

fn created() -> Event {
    Event::Created { settings: settings(), secret: secret(1) }
}

fn set(settings: Settings, secret: Option<Secret>) -> Command {
    Command::Set { settings, secret }
}

#[test]
fn a_new_key_needs_a_secret() {
    given::<Key>([]).when(set(settings(), None)).refused(Refusal::Invalid("a new key needs a secret".into()));
    let key = given::<Key>([]).when(set(settings(), Some(secret(1)))).then([created()]);
    assert!(key.is_live());
    assert_eq!((key.hash, key.hint.as_str(), key.scope), (KeyHash([1; 32]), "…0001", Some(ScopeId(2))));
}

#[test]
fn only_what_differs_is_an_event() {
    given::<Key>([created()]).when(set(settings(), None)).then([]);
    given::<Key>([created()]).when(set(settings(), Some(secret(1)))).then([]);
    let rates = Rates { parallel: Some(5), ..Rates::default() };
    let other = Settings { scope: None, models: None, rates, ..settings() };
    let events = [
        Event::Moved { scope: None },
        Event::ModelsSet { models: None },
        Event::RatesSet { rates },
        Event::SecretSet { secret: secret(2) },
    ];
    let key = given::<Key>([created()]).when(set(other, Some(secret(2)))).then(events);
    assert_eq!((key.scope, key.models, key.rates, key.hash, key.hint.as_str()), (None, None, rates, KeyHash([2; 32]), "…0002"));
}

#[test]
fn it_never_goes_to_another_tenant() {
    let other = Settings { tenant: TenantId(9), ..settings() };
    given::<Key>([created()]).when(set(other, None)).refused(Refusal::Invalid("a key cannot change its tenant".into()));
}

#[test]
fn it_is_blocked_and_unblocked() {
    assert!(!given::<Key>([created()]).when(Command::Block).then([Event::Blocked]).is_live());
    given::<Key>([created(), Event::Blocked]).when(Command::Block).then([]);
    assert!(given::<Key>([created(), Event::Blocked]).when(Command::Unblock).then([Event::Unblocked]).is_live());
    given::<Key>([created()]).when(Command::Unblock).then([]);
    given::<Key>([]).when(Command::Block).refused(Refusal::Unknown);
}

#[test]
fn revoking_is_final() {
    assert!(!given::<Key>([created()]).when(Command::Revoke).then([Event::Revoked]).is_live());
    for command in [Command::Unblock, Command::Revoke, set(settings(), Some(secret(2)))] {
        given::<Key>([created(), Event::Revoked]).when(command).refused(Refusal::Closed);
    }
    given::<Key>([]).when(Command::Revoke).refused(Refusal::Unknown);
}

#[test]
fn a_hash_is_not_printed() {
    assert_eq!(format!("{:?}", KeyHash([7; 32])), "KeyHash(…)");
}
