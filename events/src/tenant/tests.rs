use super::*;
use crate::given::{NOW, given};

fn created() -> Event {
    Event::Created { name: "acme".into(), rates: Rates::default() }
}

fn set(rpm: Option<u64>) -> Command {
    Command::Set { name: "acme".into(), rates: Rates { rpm, ..Rates::default() } }
}

#[test]
fn it_is_made_once() {
    let tenant = given::<Tenant>([]).when(set(None)).then([created()]);
    assert_eq!((tenant.name.as_str(), tenant.made, tenant.made_at), ("acme", true, NOW));
}

#[test]
fn what_is_so_already_is_no_event() {
    given::<Tenant>([created()]).when(set(None)).then([]);
}

#[test]
fn its_rates_are_set() {
    let rates = Rates { rpm: Some(60), ..Rates::default() };
    let tenant = given::<Tenant>([created()]).when(set(Some(60))).then([Event::RatesSet { rates }]);
    assert_eq!(tenant.rates, rates);
}

#[test]
fn closing_is_final() {
    assert!(given::<Tenant>([created()]).when(Command::Close).then([Event::Closed]).closed);
    given::<Tenant>([created(), Event::Closed]).when(set(Some(60))).refused(Refusal::Closed);
    given::<Tenant>([created(), Event::Closed]).when(Command::Close).refused(Refusal::Closed);
}

#[test]
fn what_was_never_made_cannot_be_closed() {
    given::<Tenant>([]).when(Command::Close).refused(Refusal::Unknown);
}
