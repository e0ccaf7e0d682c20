use super::*;
use crate::given::given;

fn losses(rules: &str) -> Vec<Setting> {
    vec![Setting::Losses(rules.into())]
}

#[test]
fn what_is_said_last_is_said() {
    let policy = given::<Policy>([]).when(Command::Set(losses("warn"))).then([Event::Set(losses("warn"))]);
    assert_eq!(policy.losses(), Some("warn"));
    let policy = given::<Policy>([Event::Set(losses("warn"))]).when(Command::Set(Vec::new())).then([Event::Set(Vec::new())]);
    assert_eq!(policy.losses(), None);
}

#[test]
fn what_is_so_already_is_no_event() {
    given::<Policy>([Event::Set(losses("warn"))]).when(Command::Set(losses("warn"))).then([]);
    given::<Policy>([]).when(Command::Set(Vec::new())).then([]);
}
