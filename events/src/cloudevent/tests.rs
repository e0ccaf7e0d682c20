use super::*;
use crate::{
    Aggregate as _, KeyId, Money, ProviderId, StreamId, Timestamp,
    envelope::{Envelope, Principal},
    key::{KeyHash, Secret},
    price::Price,
};

fn record(event: Event, tenant: Option<TenantId>) -> Recorded {
    let stream = event.stream();
    let envelope = Envelope { n: 17, stream, version: 1, tenant, at: Timestamp(0), principal: Principal::System, cause: 17, policy: 0 };
    let leaf = envelope.leaf(&event.encode()).into();
    Recorded { envelope, event: event.into(), leaf }
}

/// Everything of a JSON value as one text.
fn text(event: Event) -> String {
    render(&record(event, None), &State::default(), "c").to_string()
}

#[test]
fn a_record_has_the_attributes_of_a_cloud_event() {
    let mut state = State::default();
    let created = tenant::Event::Created { name: "acme".into(), rates: crate::Rates::default() };
    state.books.tenants.entry(TenantId(4)).apply(&created, Timestamp(0));
    let rendered = render(&record(Event::Tenant(TenantId(4), tenant::Event::Closed), Some(TenantId(4))), &state, "c1");
    let wanted = json!({
        "specversion": "1.0", "id": "0:17", "source": "tollgate/c1", "type": "tollgate.tenant.closed.v1", "subject": "ten_4",
        "time": "1970-01-01T00:00:00Z", "tenant": "acme", "data": {"tenant": "ten_4", "name": "acme"},
    });
    assert_eq!(rendered, wanted);
}

#[test]
fn what_belongs_to_the_platform_names_no_tenant() {
    let rendered = render(&record(Event::Node(crate::NodeId(3), node::Event::Joined), None), &State::default(), "c1");
    assert!(rendered.get("tenant").is_none(), "{rendered}");
}

#[test]
fn a_key_shows_its_hint_and_not_its_hash() {
    let settings = key::Settings { tenant: TenantId(1), scope: None, name: "k".into(), models: None, rates: crate::Rates::default() };
    let secret = Secret { hash: KeyHash([0xab; 32]), hint: "…wxyz".into() };
    for event in [key::Event::Created { settings, secret: secret.clone() }, key::Event::SecretSet { secret }] {
        let shown = text(Event::Key(KeyId(1), event));
        assert!(shown.contains("…wxyz"), "{shown}");
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    }
}

#[test]
fn a_provider_shows_neither_header_values_nor_credentials_in_its_url() {
    let settings = provider::Settings {
        base_url: "https://user:pa55@host:8443/v1?api-key=pa55#pa55".into(),
        headers: vec![("x-secret".into(), "pa55".into())],
        ..provider::Settings::default()
    };
    let shown = text(Event::Provider(ProviderId(1), provider::Event::Created(settings)));
    assert!(shown.contains(r#""base_url":"https://host:8443/v1""#) && shown.contains(r#""headers":["x-secret"]"#), "{shown}");
    assert!(!shown.contains("pa55"), "{shown}");
    assert_eq!(parts::bare_url("no url"), "no url");
    assert_eq!(parts::bare_url("http://a@b@c"), "http://c");
}

#[test]
fn prices_are_per_million_tokens_and_shares_are_of_one() {
    // 0.15 USD a million tokens are 150,000 pico-dollars a token
    let price = Price { input: Money(150_000), output: Money(600_000), request: Money::parse("0.01"), ..Price::default() };
    assert_eq!(parts::price(&price), json!({"input_per_mtok": "0.15", "output_per_mtok": "0.6", "request": "0.01"}));
    assert_eq!(parts::share(800_000), json!("0.8"));
    assert_eq!(StreamId::Catalogue.to_string(), "catalogue");
}
