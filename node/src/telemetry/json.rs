//! Lines as JSON, written straight into the subscriber's buffer: the general formatter takes twice as long, and each call has one.

use std::fmt::{self, Debug, Write};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// One object a line: `timestamp`, `level`, the fields, `target`.
pub struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        out.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut out)?;
        write!(out, "\",\"level\":\"{}\"", event.metadata().level())?;
        let mut fields = Fields { out: &mut out, written: Ok(()) };
        event.record(&mut fields);
        fields.put("target", |out| text(out, event.metadata().target()));
        fields.written?;
        out.write_str("}\n")
    }
}

struct Fields<'a, 'w> {
    out: &'a mut Writer<'w>,
    written: fmt::Result,
}

impl Fields<'_, '_> {
    /// Names stand in our own sources and need no escapes.
    fn put(&mut self, name: &str, value: impl FnOnce(&mut dyn Write) -> fmt::Result) {
        if self.written.is_ok() {
            self.written = write!(self.out, ",\"{name}\":").and_then(|()| value(self.out));
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), |out| text(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), |out| write!(out, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), |out| write!(out, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), |out| if value.is_finite() { write!(out, "{value}") } else { out.write_str("null") });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field.name(), |out| {
            out.write_char('"')?;
            write!(Escaped(out), "{value:?}")?;
            out.write_char('"')
        });
    }
}

fn text(out: &mut dyn Write, value: &str) -> fmt::Result {
    out.write_char('"')?;
    Escaped(out).write_str(value)?;
    out.write_char('"')
}

/// What stands between quotes.
struct Escaped<'a>(&'a mut dyn Write);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            let (plain, from) = rest.split_at(at);
            self.0.write_str(plain)?;
            match from.as_bytes()[0] {
                quoted @ (b'"' | b'\\') => write!(self.0, "\\{}", char::from(quoted))?,
                control => write!(self.0, "\\u{control:04x}")?,
            }
            rest = &from[1..];
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::{io, sync::Arc};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_kind_of_field_reads_back() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt().event_format(Json).with_writer(move || writer.clone()).finish();
        let awkward = "a \"quote\", a \\ and\na line, é and \u{1}";
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "t", text = awkward, shown = %awkward, none = None::<u64>, big = u64::MAX, low = -1, half = 0.5, not = f64::NAN, yes = true, "said {}", 1);
        });
        let line: serde_json::Value = serde_json::from_slice(&kept.0.lock()).unwrap();
        let expected = serde_json::json!({
            "timestamp": line["timestamp"], "level": "INFO", "message": "said 1", "text": awkward, "shown": awkward, "big": u64::MAX, "low": -1, "half": 0.5, "not": null,
            "yes": true, "target": "t",
        });
        assert_eq!(line, expected);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
