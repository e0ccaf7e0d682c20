use super::*;
use crate::{
    envelope::Principal,
    given::given,
    transaction::{Group, Proposal, Transaction},
};

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

#[test]
fn a_rotation_says_until_when_the_secret_before_lets_in() {
    let rotate = |byte, until| Command::Rotate { secret: secret(byte), until };
    let rotated = Event::Rotated { secret: secret(2), until: Timestamp(9) };
    given::<Key>([]).when(rotate(2, None)).refused(Refusal::Unknown);
    let key = given::<Key>([created()]).when(rotate(2, Some(Timestamp(9)))).then([rotated.clone()]);
    assert_eq!((key.hash, key.hint.as_str()), (KeyHash([2; 32]), "…0002"));
    given::<Key>([created()]).when(rotate(2, None)).then([Event::SecretSet { secret: secret(2) }]);
    given::<Key>([created(), rotated]).when(rotate(2, Some(Timestamp(99)))).then([]);
    given::<Key>([created(), Event::Revoked]).when(rotate(2, None)).refused(Refusal::Closed);
}

/// What follows a rotation, and which secret lets in beside the key's own afterwards.
#[test]
fn the_secret_before_lives_until_another_change_of_secrets() {
    let rotated = |byte, at| Event::Rotated { secret: secret(byte), until: Timestamp(at) };
    let cases: [(&[Event], Option<(u8, u64)>); 8] = [
        (&[], None),
        (&[rotated(2, 9)], Some((1, 9))),
        (&[rotated(2, 9), rotated(3, 12)], Some((2, 12))),
        (&[rotated(2, 9), Event::SecretSet { secret: secret(3) }], None),
        (&[rotated(2, 9), Event::Blocked], Some((1, 9))),
        (&[rotated(2, 9), Event::Blocked, Event::Unblocked, Event::RatesSet { rates: Rates::default() }], Some((1, 9))),
        (&[rotated(2, 9), Event::Revoked], None),
        (&[rotated(2, 9), rotated(1, 10)], Some((2, 10))),
    ];
    for (events, expected) in cases {
        let mut state = State::default();
        let all = std::iter::once(created()).chain(events.iter().cloned());
        let proposals = all.map(|event| Proposal::new(crate::Event::Key(KeyId(7), event), Principal::System, 0));
        let transaction = Transaction { events: proposals.collect(), ..Transaction::default() };
        let group = Group { sequence: None, transactions: vec![Some(transaction)] };
        let mut records = Vec::new();
        state.apply(&group, Timestamp(5), &mut records).unwrap();
        let found = |state: &State| state.books.overlaps.get(&KeyId(7)).map(|overlap| (overlap.previous.hash.0[0], overlap.until.0));
        assert_eq!(found(&state), expected, "{events:?}");
        let mut replayed = State::default();
        records.iter().for_each(|record| replayed.replay(record).unwrap());
        let mut stored = State::default();
        for row in state.settle() {
            let Some(value) = row.value else { continue }; // it is gone
            stored.load(row.table, &row.key, &value).unwrap();
        }
        stored.loaded();
        replayed.settle();
        assert_eq!((found(&replayed), found(&stored)), (expected, expected));
        assert_eq!((replayed.digests().books, stored.digests().books), (state.digests().books, state.digests().books));
    }
}
