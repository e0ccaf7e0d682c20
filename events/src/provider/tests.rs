use super::*;
use crate::given::{NOW, given};

fn settings() -> Settings {
    Settings { name: "openai".into(), dialect: "openai".into(), base_url: "https://api.example/v1".into(), ..Settings::default() }
}

fn set(settings: Settings, secret: Option<[u8; 32]>) -> Command {
    Command::Set { settings, secret }
}

#[test]
fn it_is_made_with_a_secret_or_without() {
    let bare = given::<Provider>([]).when(set(settings(), None)).then([Event::Created(settings())]);
    assert_eq!((bare.secret, bare.made, bare.made_at), (None, true, NOW));
    let events = [Event::Created(settings()), Event::SecretSet { digest: [1; 32] }];
    assert_eq!(given::<Provider>([]).when(set(settings(), Some([1; 32]))).then(events).secret, Some([1; 32]));
}

#[test]
fn only_what_differs_is_an_event() {
    let before = || given::<Provider>([Event::Created(settings()), Event::SecretSet { digest: [1; 32] }]);
    before().when(set(settings(), None)).then([]);
    before().when(set(settings(), Some([1; 32]))).then([]);
    before().when(set(settings(), Some([2; 32]))).then([Event::SecretSet { digest: [2; 32] }]);
    let slower = Settings { timeouts: Timeouts { connect_ms: 1, ..Timeouts::default() }, ..settings() };
    let after = before().when(set(slower.clone(), None)).then([Event::Changed(slower.clone())]);
    assert_eq!((after.settings, after.secret), (slower, Some([1; 32])), "a change of settings keeps the secret");
}

#[test]
fn closing_is_final() {
    assert!(given::<Provider>([Event::Created(settings())]).when(Command::Close).then([Event::Closed]).closed);
    given::<Provider>([Event::Created(settings()), Event::Closed]).when(set(settings(), None)).refused(Refusal::Closed);
    given::<Provider>([]).when(Command::Close).refused(Refusal::Unknown);
}
