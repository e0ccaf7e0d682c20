use super::*;
use events::price::Long;
use proptest::prelude::*;

#[test]
fn prices_per_million_are_exact_or_refused() {
    for (text, pico) in [("0.15", 150_000), ("0", 0), ("75", 75_000_000), ("0.000001", 1), ("0.0375", 37_500)] {
        assert_eq!(per_mtok(text), Some(Money(pico)), "{text}");
    }
    for bad in ["0.0000001", "-1", "", "1,5", "free", "1e-3", "0.1234567"] {
        assert_eq!(per_mtok(bad), None, "{bad}");
    }
}

fn price(input: i128, output: i128) -> Price {
    Price { input: Money(input), output: Money(output), ..Price::default() }
}

#[test]
fn each_class_has_its_price_or_its_neighbours() {
    let usage =
        Usage { input: 1, cache_read: 10, cache_write: 100, cache_write_1h: 1_000, output: 10_000, reasoning: 100_000, ..Usage::default() };
    assert_eq!(cost(&price(2, 3), &usage, None), Money(2 * 1_111 + 3 * 110_000));
    let full = Price {
        cache_read: Some(Money(1)),
        cache_write: Some(Money(5)),
        reasoning: Some(Money(4)),
        request: Some(Money(7)),
        ..price(2, 3)
    };
    assert_eq!(cost(&full, &usage, None), Money(2 + 10 + 500 + 5_000 + 30_000 + 400_000 + 7));
    let pieces = Price {
        image: Some(Money(11)),
        search: Some(Money(13)),
        audio_input: Some(Money(17)),
        audio_output: Some(Money(19)),
        ..price(2, 3)
    };
    let usage = Usage { audio_input: 1, audio_output: 1, images: 2, searches: 3, ..Usage::default() };
    assert_eq!(cost(&pieces, &usage, None), Money(17 + 19 + 22 + 39));
}

#[test]
fn long_requests_and_tiers_have_their_own_prices() {
    let long = Some(Box::new(Long { above_tokens: 100, price: price(4, 6) }));
    let dear = Price {
        long: long.clone(),
        tiers: vec![("flex".into(), price(1, 1)), ("priority".into(), Price { long, ..price(3, 5) })],
        ..price(2, 3)
    };
    let at = |input, tier| cost(&dear, &Usage { input, output: 1, ..Usage::default() }, tier);
    assert_eq!(at(100, None), Money(203));
    assert_eq!(at(101, None), Money(4 * 101 + 6), "the whole request is long");
    assert_eq!(at(101, Some("flex")), Money(102), "this tier knows no long requests");
    assert_eq!(at(100, Some("priority")), Money(305));
    assert_eq!(at(100, Some("default")), Money(203));
    let extras = Extras::default();
    assert_eq!(ceiling(&dear, 100, 1, &extras, Some("default")), Money(203));
    assert_eq!(ceiling(&dear, 100, 1, &extras, Some("flex")), Money(203), "it may be answered at the plain price");
    assert_eq!(ceiling(&dear, 100, 1, &extras, None), Money(305), "the provider chooses");
    assert_eq!(ceiling(&dear, 101, 1, &extras, Some("default")), Money(4 * 101 + 6));
}

fn money() -> impl Strategy<Value = Money> {
    (0i128..100_000_000).prop_map(Money)
}

prop_compose! {
    fn flat()(input in money(), output in money(), own in prop::collection::vec(prop::option::of(money()), 9)) -> Price {
        Price {
            input, output,
            cache_read: own[0], cache_write: own[1], cache_write_1h: own[2], reasoning: own[3], audio_input: own[4], audio_output: own[5],
            image: own[6], search: own[7], request: own[8],
            long: None, tiers: Vec::new(),
        }
    }
}

prop_compose! {
    fn maybe_long()(price in flat(), long in prop::option::of((0u64..3_000, flat()))) -> Price {
        Price { long: long.map(|(above_tokens, price)| Box::new(Long { above_tokens, price })), ..price }
    }
}

prop_compose! {
    fn any_price()(price in maybe_long(), flex in prop::option::of(maybe_long()), priority in prop::option::of(maybe_long())) -> Price {
        let tiers = [("flex", flex), ("priority", priority)].into_iter().filter_map(|(name, price)| Some((name.to_owned(), price?))).collect();
        Price { tiers, ..price }
    }
}

prop_compose! {
    fn usage()(n in prop::collection::vec(0u64..1_500, 8), images in 0u64..4, searches in 0u64..4) -> Usage {
        Usage {
            input: n[0], cache_read: n[1], cache_write: n[2], cache_write_1h: n[3], output: n[4], reasoning: n[5], audio_input: n[6], audio_output: n[7],
            images, searches,
        }
    }
}

proptest! {
    #[test]
    fn no_usage_within_the_bounds_costs_more_than_the_ceiling(
        price in any_price(), used in usage(), room_in in 0u64..2_000, room_out in 0u64..2_000, asked in 0usize..5, answered in 0usize..3,
    ) {
        // what a provider can answer to what was asked
        let asked = [None, Some("auto"), Some("default"), Some("flex"), Some("priority")][asked];
        let answered = match asked {
            None | Some("auto") => [None, Some("flex"), Some("priority")][answered],
            Some("default") => Some("default"),
            named => [named, None, Some("default")][answered],
        };
        let extras = Extras { images: used.images, searches: used.searches, ..Extras::default() };
        let bound = ceiling(&price, used.tokens_in() + room_in, used.tokens_out() + room_out, &extras, asked);
        prop_assert!(cost(&price, &used, answered) <= bound);
    }

    #[test]
    fn what_cannot_occur_is_not_counted(price in any_price(), used in usage()) {
        let used = Usage { cache_write: 0, cache_write_1h: 0, audio_input: 0, audio_output: 0, ..used };
        let all = Extras { images: used.images, searches: used.searches, ..Extras::default() };
        let few = Extras { cache_write: false, cache_write_1h: false, audio: false, ..all };
        let bound = ceiling(&price, used.tokens_in(), used.tokens_out(), &few, Some("default"));
        prop_assert!(cost(&price, &used, Some("default")) <= bound);
        prop_assert!(bound <= ceiling(&price, used.tokens_in(), used.tokens_out(), &all, Some("default")));
    }

    #[test]
    fn a_dear_model_is_never_free_in_silence(input in 1i128..1_000, output in 1i128..1_000, tokens in 1u64..1_000_000) {
        prop_assert!(ceiling(&price(input, 0), tokens, 0, &Extras::default(), None) > Money::ZERO);
        prop_assert!(ceiling(&price(0, output), 0, tokens, &Extras::default(), None) > Money::ZERO);
    }

    #[test]
    fn extreme_counts_do_not_overflow(price in any_price()) {
        let most = Usage { input: u64::MAX, output: u64::MAX, reasoning: u64::MAX, ..Usage::default() };
        let extras = Extras { images: u64::MAX, searches: u64::MAX, ..Extras::default() };
        prop_assert!(cost(&price, &most, None) >= Money::ZERO && ceiling(&price, u64::MAX, u64::MAX, &extras, None) >= Money::ZERO);
    }
}
