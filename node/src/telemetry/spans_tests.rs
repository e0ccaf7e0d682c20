use super::*;
use std::collections::BTreeMap;

fn vars(list: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<> {
    let list: BTreeMap<String, String> = list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    move |name| list.get(name).cloned()
}

#[test]
fn the_endpoint_is_found_as_the_specification_has_it() {
    let found = |list: &[(&str, &str)]| endpoint(&vars(list));
    assert_eq!(found(&[]), None);
    assert_eq!(found(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/")]).as_deref(), Some("http://c:4318/v1/traces"));
    assert_eq!(found(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/a")]).as_deref(), Some("http://c:4318/a/v1/traces"));
    let both = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/x")];
    assert_eq!(found(&both).as_deref(), Some("http://t:1/x"));
    assert_eq!(found(&[both[0], ("OTEL_SDK_DISABLED", "true")]), None);
    assert_eq!(found(&[both[0], ("OTEL_TRACES_EXPORTER", "none")]), None);
}

#[test]
fn a_bad_endpoint_is_told_at_the_start() {
    assert!(check("http://127.0.0.1:4318/v1/traces").is_ok() && check("https://collector.example/v1/traces").is_ok());
    for bad in ["collector:4318", "/v1/traces", "ftp://c/v1/traces", "http://169.254.169.254/v1/traces", "http://"] {
        assert!(check(bad).is_err(), "{bad}");
    }
}

#[test]
fn timeouts_are_milliseconds() {
    assert_eq!(timeout(&vars(&[])), TIMEOUT);
    assert_eq!(timeout(&vars(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "250")])), Duration::from_millis(250));
    assert_eq!(timeout(&vars(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")])), TIMEOUT);
}

#[test]
fn the_service_has_a_name_of_its_own_or_the_given_one() {
    let attribute = |list: &[(&str, &str)], key: &'static str| resource(&vars(list)).get(&key.into()).map(|value| value.to_string());
    assert_eq!(attribute(&[], "service.name").as_deref(), Some("tollgate"));
    assert_eq!(attribute(&[], "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_ne!(attribute(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=edge")], "service.name").as_deref(), Some("tollgate"));
    assert_ne!(attribute(&[("OTEL_SERVICE_NAME", "edge")], "service.name").as_deref(), Some("tollgate"));
}

#[test]
fn an_unknown_sampler_is_the_default_one() {
    assert_eq!(sampler(&vars(&[("OTEL_TRACES_SAMPLER", "xray")])), Sampler::default());
    assert_eq!(sampler(&vars(&[("OTEL_TRACES_SAMPLER", "always_off")])), Sampler::named("always_off", None).unwrap());
}
