//! A call's place in a distributed trace (W3C Trace Context, level 1 and 2), and whether a span of it is made. Pure.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Bytes of a `traceparent` of version 00; later versions may put more behind it.
const PARENT_BYTES: usize = 55;
const SAMPLED: u8 = 0x01;
/// Level 2: the trace id was drawn at random.
const RANDOM: u8 = 0x02;

/// What `traceparent` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace_id: u128,
    pub span_id: u64,
    pub flags: u8,
}

impl Context {
    /// Reads a `traceparent`; what is not valid is none.
    pub fn parse(text: &[u8]) -> Option<Context> {
        let (head, rest) = text.split_at_checked(PARENT_BYTES)?;
        let version = hex(&head[..2])? as u8;
        let longer_is_fine = version > 0 && rest.first() == Some(&b'-');
        if version == 0xff || [head[2], head[35], head[52]] != [b'-'; 3] || !(rest.is_empty() || longer_is_fine) {
            return None;
        }
        let (trace_id, span_id, flags) = (hex(&head[3..35])?, hex(&head[36..52])? as u64, hex(&head[53..55])? as u8);
        (trace_id != 0 && span_id != 0).then_some(Context { trace_id, span_id, flags })
    }

    /// The context that a request brings; two of them are as good as none.
    pub fn of(headers: &HeaderMap) -> Option<Context> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let first = values.next()?;
        if values.next().is_some() { None } else { Context::parse(first.as_bytes()) }
    }

    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Lower-case hexadecimal digits, as the standard wants them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Which spans are made, as OpenTelemetry's `OTEL_TRACES_SAMPLER` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// The caller's flag decides, where there is one.
    parent_based: bool,
    /// A trace is sampled if this number, from its id, is below; 2⁶³ is all.
    below: u64,
}

/// All of the 63 bits that a ratio looks at.
const ALL: u64 = 1 << 63;

impl Default for Sampler {
    fn default() -> Sampler {
        Sampler { parent_based: true, below: ALL }
    }
}

impl Sampler {
    /// `OTEL_TRACES_SAMPLER` and its `_ARG`. A ratio that cannot be read is 1.
    ///
    /// # Errors
    /// The name is none that is known here.
    pub fn named(name: &str, argument: Option<&str>) -> Result<Sampler, String> {
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let ratio = || argument.and_then(|text| text.trim().parse::<f64>().ok()).filter(|ratio| (0.0..=1.0).contains(ratio)).unwrap_or(1.0);
        let below = match root {
            "always_on" => ALL,
            "always_off" => 0,
            "traceidratio" => (ratio() * ALL as f64) as u64,
            _ => return Err(format!("the sampler \"{name}\" is not known")),
        };
        Ok(Sampler { parent_based, below })
    }

    fn wants(&self, trace_id: u128, parent: Option<&Context>) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.sampled(),
            _ => (trace_id as u64) >> 1 < self.below,
        }
    }
}

/// The span of one call: its ids are drawn at the start, for upstream hears of them; the span itself is built at the end, if it is sampled.
#[derive(Clone, Debug)]
pub struct Span {
    pub context: Context,
    /// The caller's span.
    pub parent: Option<u64>,
    /// The caller's `tracestate`, which passes as it is.
    pub state: Option<HeaderValue>,
}

impl Span {
    /// Of a request, by a sampler. An invalid `traceparent` is ignored, and `tracestate` with it.
    pub fn begin(sampler: &Sampler, headers: &HeaderMap, mut draw: impl FnMut() -> u128) -> Span {
        let parent = Context::of(headers);
        let drawn = draw();
        let trace_id = parent.map_or_else(|| draw().max(1), |parent| parent.trace_id);
        let random = parent.map_or(RANDOM, |parent| parent.flags & RANDOM);
        let sampled = if sampler.wants(trace_id, parent.as_ref()) { SAMPLED } else { 0 };
        Span {
            context: Context { trace_id, span_id: (drawn as u64).max(1), flags: random | sampled },
            parent: parent.map(|parent| parent.span_id),
            state: parent.and_then(|_| state(headers)),
        }
    }

    pub fn sampled(&self) -> bool {
        self.context.sampled()
    }

    /// Makes this span the parent of what a request asks for.
    pub fn put(&self, headers: &mut HeaderMap) {
        headers.remove(TRACESTATE);
        if let Ok(value) = HeaderValue::try_from(self.context.to_string()) {
            headers.insert(TRACEPARENT, value);
        }
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
    }
}

/// `tracestate` may stand in several headers, which are one list.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(TRACESTATE).iter();
    let first = values.next()?;
    values.try_fold(first.clone(), |list, next| HeaderValue::from_bytes(&[list.as_bytes(), b",", next.as_bytes()].concat()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn draws() -> impl FnMut() -> u128 {
        let mut next = 0x1111_0000_0000_0000_2222u128;
        move || {
            next += 1;
            next
        }
    }

    #[test]
    fn a_parent_reads_back() {
        let context = Context::parse(PARENT.as_bytes()).unwrap();
        assert_eq!((context.trace_id, context.span_id, context.flags), (0x0af7651916cd43dd8448eb211c80319c, 0xb7ad6b7169203331, 1));
        assert_eq!(context.to_string(), PARENT);
    }

    #[test]
    fn later_versions_may_be_longer_and_the_first_may_not() {
        assert!(Context::parse(format!("cc{}-what-the-future-brings", &PARENT[2..]).as_bytes()).is_some());
        assert!(Context::parse(format!("cc{}", &PARENT[2..]).as_bytes()).is_some());
        assert!(Context::parse(format!("cc{}.x", &PARENT[2..]).as_bytes()).is_none());
        assert!(Context::parse(format!("{PARENT}-x").as_bytes()).is_none());
    }

    #[test]
    fn what_is_not_valid_is_none() {
        let bad = [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ];
        for text in bad {
            assert_eq!(Context::parse(text.as_bytes()), None, "{text}");
        }
        let span = Span::begin(&Sampler::default(), &headers(&[("traceparent", bad[2]), ("tracestate", "a=1")]), draws());
        assert_eq!((span.parent, span.state), (None, None));
        let twice = headers(&[("traceparent", PARENT), ("traceparent", PARENT)]);
        assert_eq!(Span::begin(&Sampler::default(), &twice, draws()).parent, None);
    }

    #[test]
    fn a_span_goes_on_with_the_callers_trace() {
        let caller = headers(&[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        let span = Span::begin(&Sampler::default(), &caller, draws());
        assert_eq!((span.context.trace_id, span.parent), (0x0af7651916cd43dd8448eb211c80319c, Some(0xb7ad6b7169203331)));
        assert!(span.sampled() && span.context.span_id != 0xb7ad6b7169203331);
        let mut upstream = caller.clone();
        span.put(&mut upstream);
        assert_eq!(upstream[TRACESTATE], "a=1,b=2");
        assert_eq!(Context::parse(upstream[TRACEPARENT].as_bytes()), Some(span.context));
        assert_eq!(upstream.get_all(TRACEPARENT).iter().count() + upstream.get_all(TRACESTATE).iter().count(), 2);
    }

    #[test]
    fn without_a_parent_a_trace_begins() {
        let span = Span::begin(&Sampler::default(), &HeaderMap::new(), || 0);
        assert_eq!((span.context.trace_id, span.context.span_id, span.context.flags), (1, 1, SAMPLED | RANDOM), "an id is never zero");
    }

    #[test]
    fn samplers_are_those_of_the_specification() {
        let sampled = |name: &str, argument: Option<&str>, parent: Option<&str>| {
            let caller = parent.map(|parent| headers(&[("traceparent", parent)])).unwrap_or_default();
            Span::begin(&Sampler::named(name, argument).unwrap(), &caller, draws()).sampled()
        };
        let unsampled = PARENT.replace("-01", "-00");
        for (name, root, on, off) in [
            ("always_on", true, true, true),
            ("always_off", false, false, false),
            ("parentbased_always_on", true, true, false),
            ("parentbased_always_off", false, true, false),
        ] {
            let found = (sampled(name, None, None), sampled(name, None, Some(PARENT)), sampled(name, None, Some(&unsampled)));
            assert_eq!(found, (root, on, off), "{name}");
        }
        assert_eq!(Sampler::named("parentbased_always_on", None), Ok(Sampler::default()));
        assert!(Sampler::named("jaeger_remote", None).is_err());
    }

    #[test]
    fn a_ratio_keeps_that_share_of_all_traces() {
        let sampler = Sampler::named("traceidratio", Some("0.25")).unwrap();
        let kept =
            (0..4_000u128).filter(|number| sampler.wants(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835), None)).count();
        assert!((900..1_100).contains(&kept), "{kept}");
        for (argument, all) in [(None, true), (Some("1"), true), (Some("0"), false), (Some("2"), true), (Some("some"), true)] {
            let sampler = Sampler::named("parentbased_traceidratio", argument).unwrap();
            assert_eq!(sampler.wants(u128::MAX, None) && sampler.wants(u128::from(u64::MAX >> 1), None), all, "{argument:?}");
        }
    }
}
