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

#[test]
fn what_is_said_about_bodies_stands_beside_what_is_said_about_losses() {
    let log = RequestLog { log: Logged::Errors, keep_hours: 24, ..RequestLog::default() };
    let settings = [losses("warn"), vec![Setting::RequestLog(log.clone())]].concat();
    let policy = given::<Policy>([]).when(Command::Set(settings.clone())).then([Event::Set(settings)]);
    assert_eq!((policy.losses(), policy.request_log()), (Some("warn"), Some(&log)));
}

#[test]
fn a_sample_is_a_share_of_the_calls_and_always_the_same() {
    let log = |log, sample_ppm| RequestLog { log, sample_ppm, ..RequestLog::default() };
    // as random numbers are spread
    let call = |number: u64| CallId::new(number, u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let taken = |log: &RequestLog| (0..10_000).filter(|number| log.takes(call(*number))).count();
    let tenth = log(Logged::Sampled, 100_000);
    assert!((900..1_100).contains(&taken(&tenth)), "{}", taken(&tenth));
    assert_eq!([Logged::Off, Logged::All, Logged::Errors].map(|kind| taken(&log(kind, 0))), [0, 10_000, 10_000]);
    assert_eq!((taken(&log(Logged::Sampled, 0)), taken(&log(Logged::Sampled, 1_000_000))), (0, 10_000));
}
