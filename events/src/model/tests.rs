use super::*;
use crate::{
    Money,
    given::{NOW, given},
};

fn settings() -> Settings {
    let target = Target { provider: ProviderId(3), model: "gpt-4o-mini".into(), price: None };
    Settings { name: "fast".into(), targets: vec![target], ..Settings::default() }
}

#[test]
fn it_is_set_and_set_again() {
    let model = given::<Model>([]).when(Command::Set(settings())).then([Event::Set(settings())]);
    assert_eq!((model.made, model.made_at), (true, NOW));
    given::<Model>([Event::Set(settings())]).when(Command::Set(settings())).then([]);
    let dearer = Settings { price: Some(Price { input: Money(2), ..Price::default() }), ..settings() };
    assert_eq!(
        given::<Model>([Event::Set(settings())]).when(Command::Set(dearer.clone())).then([Event::Set(dearer.clone())]).settings,
        dearer
    );
}

#[test]
fn it_keeps_the_time_of_its_making() {
    let mut model = Model::default();
    model.apply(&Event::Set(settings()), Timestamp(1));
    model.apply(&Event::Set(settings()), Timestamp(2));
    assert_eq!(model.made_at, Timestamp(1));
}

#[test]
fn removing_is_final() {
    assert!(given::<Model>([Event::Set(settings())]).when(Command::Remove).then([Event::Removed]).removed);
    given::<Model>([Event::Set(settings()), Event::Removed]).when(Command::Set(settings())).refused(Refusal::Closed);
    given::<Model>([]).when(Command::Remove).refused(Refusal::Unknown);
}
