//! Idempotency keys (LEDGER §3).

use super::world::*;
use crate::{
    CallId,
    call::Claim,
    limits,
    transaction::{Outcome, Transaction},
};
use std::time::Duration;

fn key(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

fn claiming(world: &World, call: CallId, number: u64) -> Transaction {
    let mut admitted = world.admission(NODE, 1, figures(1), &[]);
    admitted.claim = Some(Claim { key: key(number), body: [9; 16] });
    world.admit_transaction(call, admitted)
}

fn claim(world: &mut World, call: u128, number: u64) -> Outcome {
    let transaction = claiming(world, call_id(call), number);
    world.say(transaction)
}

#[test]
fn a_claim_is_held_beyond_its_calls_end_and_freed_by_a_release() {
    let mut world = World::new();
    assert_eq!(claim(&mut world, 1, 7), Outcome::Taken);
    assert_eq!(claim(&mut world, 2, 7), Outcome::Claimed);
    assert_eq!(claim(&mut world, 3, 8), Outcome::Taken);
    assert_eq!(world.say(record(call_id(1), 1)), Outcome::Taken);
    assert_eq!(claim(&mut world, 2, 7), Outcome::Claimed, "it was answered: again is not once more");
    assert_eq!(world.say(released(call_id(3))), Outcome::Taken);
    assert_eq!(claim(&mut world, 4, 8), Outcome::Taken);
    assert_eq!(world.state.books.claims.get(&(TENANT, key(8))).unwrap().call, call_id(4));
}

#[test]
fn a_claim_lives_a_day() {
    let mut world = World::new();
    assert_eq!(claim(&mut world, 1, 7), Outcome::Taken);
    world.wait(limits::CLAIM_KEPT);
    assert_eq!(claim(&mut world, 2, 7), Outcome::Claimed);
    world.wait(Duration::from_micros(1));
    assert_eq!(claim(&mut world, 2, 7), Outcome::Taken);
    assert_eq!(world.state.books.claims.len(), 1);
}

#[test]
fn the_late_release_of_one_call_does_not_free_the_claim_of_another() {
    let mut world = World::new();
    assert_eq!(claim(&mut world, 1, 7), Outcome::Taken);
    world.wait(limits::CLAIM_KEPT + Duration::from_secs(1));
    assert_eq!(claim(&mut world, 2, 7), Outcome::Taken);
    assert_eq!(world.say(released(call_id(1))), Outcome::Taken);
    assert_eq!(claim(&mut world, 3, 7), Outcome::Claimed);
}

#[test]
fn the_oldest_make_room_when_they_are_too_many() {
    let mut world = World::new();
    let most = limits::CLAIMS_MAX as u64;
    for number in 0..=most {
        world.wait(Duration::from_micros(1));
        // without the oracle, for which so many calls are too slow
        let group = crate::transaction::Group {
            sequence: Some(sequence(NODE, 1, 0, number + 1)),
            transactions: vec![Some(claiming(&world, call_id(number.into()), number))],
        };
        world.state.apply(&group, world.now, &mut Vec::new()).unwrap();
    }
    assert_eq!(world.state.books.claims.len(), limits::CLAIMS_MAX);
    assert!(!world.state.books.claims.contains(&(TENANT, key(0))) && world.state.books.claims.contains(&(TENANT, key(most))));
}

#[test]
fn a_claim_made_twice_without_its_guard_is_forgotten_alike_live_and_after_a_load() {
    let mut world = World::new();
    world.oracle.careless = true;
    for call in 1..=2 {
        world.wait(Duration::from_secs(3600));
        let mut careless = claiming(&world, call_id(call), 7);
        careless.guards.clear();
        assert_eq!(world.say(careless), Outcome::Taken);
    }
    let mut loaded = world.loaded();
    world.wait(limits::CLAIM_KEPT);
    let next = claiming(&world, call_id(3), 8);
    let group = crate::transaction::Group { sequence: Some(sequence(NODE, 1, 0, 3)), transactions: vec![Some(next)] };
    for state in [&mut world.state, &mut loaded] {
        state.apply(&group, world.now, &mut Vec::new()).unwrap();
        state.settle();
    }
    assert_eq!(world.state.digests(), loaded.digests());
    assert!(world.state.books.claims.contains(&(TENANT, key(7))), "the second is a day old only now");
}

#[test]
fn two_calls_of_one_transaction_do_not_share_a_claim() {
    let mut world = World::new();
    let both = |world: &World, second: u64| {
        let mut both = claiming(world, call_id(1), 7);
        both.events.extend(claiming(world, call_id(2), second).events);
        both
    };
    let shared = both(&world, 7);
    assert_eq!(world.say(shared), Outcome::Claimed);
    assert_eq!((world.state.books.open.len(), world.state.books.claims.len()), (0, 0));
    let apart = both(&world, 8);
    assert_eq!(world.say(apart), Outcome::Taken);
    assert_eq!(world.state.books.claims.len(), 2);
}
