use super::*;
use crate::{
    KeyId,
    given::{NOW, given},
};

fn identity() -> Identity {
    Identity { owner: Owner::Key(KeyId(1)), unit: Unit::Tokens, every: Every::Day, only: Filter::default() }
}

fn terms(limit: Amount) -> Terms {
    Terms { limit, hard: true, alert_at_ppm: vec![500_000, 900_000] }
}

fn opened() -> Event {
    Event::Opened { identity: identity(), terms: terms(100) }
}

fn set(terms: Terms) -> Command {
    Command::Set { identity: identity(), terms }
}

fn settled(settled: Amount) -> Window {
    Window { settled, ..Window::default() }
}

#[test]
fn it_is_opened_once() {
    let budget = given::<Budget>([]).when(set(terms(100))).then([opened()]);
    assert_eq!((budget.identity, budget.terms, budget.made, budget.made_at), (identity(), terms(100), true, NOW));
}

#[test]
fn only_what_differs_is_an_event() {
    given::<Budget>([opened()]).when(set(terms(100))).then([]);
    given::<Budget>([opened()]).when(set(terms(7))).then([Event::LimitSet { limit: 7 }]);
    let soft = Terms { hard: false, alert_at_ppm: Vec::new(), ..terms(100) };
    let budget = given::<Budget>([opened()]).when(set(soft.clone())).then([Event::TermsSet { hard: false, alert_at_ppm: Vec::new() }]);
    assert_eq!(budget.terms, soft);
}

#[test]
fn a_lowered_limit_is_never_refused() {
    given::<Budget>([opened()]).when(set(terms(-5))).then([Event::LimitSet { limit: -5 }]);
}

#[test]
fn it_stays_what_it_is() {
    let other = Command::Set { identity: Identity { unit: Unit::Usd, ..identity() }, terms: terms(100) };
    given::<Budget>([opened()]).when(other).refused(Refusal::Invalid("a budget cannot change its owner, unit, window or filter".into()));
}

#[test]
fn it_closes_and_opens_again() {
    assert!(given::<Budget>([opened()]).when(Command::Close).then([Event::Closed]).closed);
    given::<Budget>([opened(), Event::Closed]).when(Command::Close).then([]);
    let events = [Event::Reopened, Event::LimitSet { limit: 9 }];
    assert!(!given::<Budget>([opened(), Event::Closed]).when(set(terms(9))).then(events).closed);
    given::<Budget>([]).when(Command::Close).refused(Refusal::Unknown);
}

#[test]
fn an_alert_is_given_once_a_threshold_and_window() {
    let alert = |window, threshold_ppm| Command::Alert { window: Timestamp(window), threshold_ppm };
    let alerted = |window, threshold_ppm| Event::Alerted { window: Timestamp(window), threshold_ppm };
    given::<Budget>([opened()]).when(alert(1, 500_000)).then([alerted(1, 500_000)]);
    given::<Budget>([opened(), alerted(1, 900_000)]).when(alert(1, 500_000)).then([]);
    given::<Budget>([opened(), alerted(1, 900_000)]).when(alert(2, 500_000)).then([alerted(2, 500_000)]);
}

#[test]
fn the_highest_threshold_that_is_passed_is_named() {
    let fresh = given::<Budget>([opened()]);
    for (spent, threshold) in [(49, None), (50, Some(500_000)), (89, Some(500_000)), (90, Some(900_000)), (1_000, Some(900_000))] {
        assert_eq!(fresh.is().threshold_passed(Timestamp(0), &settled(spent)), threshold, "{spent} of 100");
    }
    let told = given::<Budget>([opened(), Event::Alerted { window: Timestamp(0), threshold_ppm: 500_000 }]);
    assert_eq!(told.is().threshold_passed(Timestamp(0), &settled(60)), None);
    assert_eq!(told.is().threshold_passed(Timestamp(0), &settled(95)), Some(900_000));
}
