use super::*;
use crate::given::{NOW, given};

fn started(boot: u64) -> Event {
    Event::Started { boot: Boot(boot), lanes: 2 }
}

fn start(boot: u64) -> Command {
    Command::Start { boot: Boot(boot), lanes: 2 }
}

const ENDED: &str = "this session has ended";

#[test]
fn it_joins_once() {
    assert!(given::<Node>([]).when(Command::Join).then([Event::Joined]).joined);
    given::<Node>([Event::Joined]).when(Command::Join).then([]);
    given::<Node>([]).when(start(1)).refused(Refusal::Unknown);
}

#[test]
fn the_same_boot_twice_is_one_session() {
    let node = given::<Node>([Event::Joined]).when(start(7)).then([started(7)]);
    assert_eq!((node.holds(Boot(7)), node.holds(Boot(8)), node.lanes, node.started_at), (true, false, 2, NOW));
    given::<Node>([Event::Joined, started(7)]).when(start(7)).then([]);
}

#[test]
fn the_next_start_ends_the_session_before() {
    let node = given::<Node>([Event::Joined, started(7)]).when(start(8)).then([started(8)]);
    assert_eq!((node.holds(Boot(7)), node.holds(Boot(8))), (false, true));
}

#[test]
fn a_session_that_has_ended_never_opens_again() {
    let refused = || Refusal::Invalid(ENDED.into());
    given::<Node>([Event::Joined, started(7), started(8)]).when(start(7)).refused(refused());
    given::<Node>([Event::Joined, started(7), Event::Lost]).when(start(7)).refused(refused());
    given::<Node>([Event::Joined, started(7), Event::Lost]).when(start(8)).then([started(8)]);
}

#[test]
fn only_the_last_sessions_are_remembered() {
    let sessions = (0..1_000).map(started);
    let node = given::<Node>([Event::Joined].into_iter().chain(sessions));
    assert_eq!(node.is().ended.len(), limits::SESSIONS_REMEMBERED);
    node.when(start(998)).refused(Refusal::Invalid(ENDED.into()));
}

#[test]
fn it_is_lost_once_a_session() {
    assert!(!given::<Node>([Event::Joined, started(7)]).when(Command::Lose).then([Event::Lost]).live);
    given::<Node>([Event::Joined]).when(Command::Lose).then([]);
    let twice = given::<Node>([Event::Joined, started(7), Event::Lost, Event::Lost]);
    assert_eq!(twice.is().ended, [Boot(7)]);
}

#[test]
fn removing_is_final() {
    let node = given::<Node>([Event::Joined, started(7)]).when(Command::Remove).then([Event::Removed]);
    assert_eq!((node.live, node.removed), (false, true));
    for command in [Command::Join, start(8), Command::Lose, Command::Remove] {
        given::<Node>([Event::Joined, Event::Removed]).when(command).refused(Refusal::Closed);
    }
}
