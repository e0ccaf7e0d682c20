use super::*;
use actors::{
    report::{Ending, Figures, Said},
    trace::{Context, Span},
};
use cluster_config::{Candidate, KeyState, Principal, ProviderView};
use dialects::{Dialect, Endpoint, Request};
use events::{
    CallId, KeyId, Money, ProviderId, TenantId, Timestamp, Usage,
    call::{Attempt, AttemptEnd},
    key::KeyHash,
    price::Bounds,
    provider::Settings,
};
use std::{collections::BTreeMap, time::Instant};

/// Everything that a report borrows.
struct Sample {
    span: Span,
    principal: Principal,
    request: Request,
    candidate: Candidate,
    attempts: Vec<Attempt>,
    said: Said,
}

const BODY: &[u8] = br#"{"model":"fast","max_tokens":20,"messages":[{"role":"user","content":"Hello!"}]}"#;

impl Sample {
    fn new() -> Sample {
        let settings = Settings { base_url: "https://api.example:8443/v1".into(), ..Settings::default() };
        let provider = ProviderView {
            id: ProviderId(7),
            name: "example".into(),
            dialect: Dialect::OpenAi,
            settings,
            secret: None,
            price: None,
            known: None,
        };
        let attempt = Attempt {
            provider: ProviderId(7),
            model: "model-1".into(),
            end: AttemptEnd::Ok,
            cost: Money(3_000_000),
            tokens: 25,
            first_byte_ms: 20,
            total_ms: 40,
            upstream_id: Some("req_1".into()),
        };
        Sample {
            span: Span { context: Context { trace_id: 1 << 100, span_id: 2, flags: 1 }, parent: Some(3), state: None },
            principal: Principal {
                previous: None,
                key: KeyId(1),
                name: "app".into(),
                tenant: TenantId(1),
                tenant_name: "acme".into(),
                state: KeyState::Live,
                levels: Vec::new(),
                budgets: Vec::new(),
                models: None,
                losses: Default::default(),
                request_log: None,
                hash: KeyHash::default(),
            },
            request: dialects::read_request(Endpoint::ChatCompletions, BODY).unwrap(),
            candidate: Candidate { provider: Arc::new(provider), model: "model-1".into(), price: None, bounds: Bounds::default() },
            attempts: vec![attempt],
            said: Said { id: Some("chatcmpl-1".into()), model: Some("model-1-2026".into()), finish: Some("stop".into()) },
        }
    }

    fn report(&self) -> Report<'_> {
        Report {
            call: CallId::new(1_700_000_000_000, 5),
            span: Some(&self.span),
            endpoint: Endpoint::ChatCompletions,
            principal: Some(&self.principal),
            request: Some(&self.request),
            candidate: Some(&self.candidate),
            attempts: &self.attempts,
            ending: Ending::Ok,
            status: http::StatusCode::OK,
            code: None,
            figures: Figures { usage: Usage { input: 5, output: 20, ..Usage::default() }, cost: Money(3_000_000), ..Figures::default() },
            said: Some(&self.said),
            ended_at: Timestamp(1_700_000_000_000_000),
            took: Duration::from_millis(40),
            first_token: None,
            overhead: Duration::from_micros(150),
            lost: None,
        }
    }
}

fn spans() -> Spans {
    let setup = Setup::load(egress::Outbound::default()).unwrap();
    Spans::from_vars(&setup, &vars(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")])).unwrap().unwrap()
}

#[test]
fn a_span_begins_where_its_call_began() {
    let (sample, spans) = (Sample::new(), spans());
    let data = spans.data(&sample.report(), &sample.span);
    assert_eq!(data.end_time, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    assert_eq!(data.end_time.duration_since(data.start_time).unwrap(), Duration::from_millis(40));
    assert_eq!((data.parent_span_id, data.parent_span_is_remote), (SpanId::from_bytes(3u64.to_be_bytes()), true));
    assert_eq!((data.name.as_ref(), data.span_kind, data.status), ("chat fast", SpanKind::Client, Status::Unset));
    let found = |name: &str| data.attributes.iter().find(|pair| pair.key.as_str() == name).map(|pair| pair.value.to_string());
    assert_eq!(found("server.address").as_deref(), Some("api.example"));
    assert_eq!(found("server.port").as_deref(), Some("8443"));
    assert_eq!(found("tollgate.cost_usd").as_deref(), Some("0.000003"));
    assert_eq!(found("error.type"), None);
}

#[test]
fn a_call_that_was_refused_before_it_was_read_has_a_span_too() {
    let (sample, spans) = (Sample::new(), spans());
    let report = Report {
        principal: None,
        request: None,
        candidate: None,
        attempts: &[],
        said: None,
        ending: Ending::Refused,
        code: Some("invalid_api_key"),
        ..sample.report()
    };
    let data = spans.data(&report, &sample.span);
    assert_eq!((data.name.as_ref(), data.status), ("chat", Status::error("invalid_api_key")));
}

/// `cargo test --release -p tollgate-node costs -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn costs() {
    let sample = Sample::new();
    let time = |what: &str, work: &dyn Fn(&Report<'_>)| {
        const ROUNDS: u32 = 2_000; // no more than the queues take, so that nothing is dropped at once
        let report = sample.report();
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| work(&report));
        println!("{what}: {} ns", start.elapsed().as_nanos() / u128::from(ROUNDS));
    };
    let spans = spans();
    time("a line that is filtered", &super::super::lines::call);
    time("a span", &|report| spans.end(report, &sample.span));
    time("its ids and header", &|_| {
        let mut headers = http::HeaderMap::with_capacity(16);
        Span::begin(&Sampler::default(), &http::HeaderMap::new(), || 5).put(&mut headers);
    });
    super::super::lines().unwrap();
    time("a line", &super::super::lines::call);
}

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
