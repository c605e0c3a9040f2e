//! The trace: diagnostics on standard error, one line an event. Secrets and message contents never reach it: `Secret` has no text, and nobody traces literals.

use std::fmt;
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::calendar;
use crate::config::TraceFormat;
use crate::terminal::visible_json;

/// Sends the trace to standard error from now on. Called once; a second call changes nothing.
pub fn start(format: TraceFormat, filter: &str) {
    let filter = EnvFilter::try_new(with_quiet_libraries(filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing::subscriber::set_global_default(subscriber(format, filter, || Forgiving(io::stderr())));
}

/// Who asks for all that the server does has not asked for all that its libraries do.
fn with_quiet_libraries(filter: &str) -> String {
    match filter.to_ascii_lowercase().as_str() {
        level @ ("debug" | "trace") => format!("{level},sled=info,rustls=info,tokio_rustls=info"),
        _ => filter.to_owned(),
    }
}

fn subscriber(
    format: TraceFormat,
    filter: EnvFilter,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    // A failed write would otherwise be told on standard error, which is what failed, and that panics.
    let builder = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter).with_writer(writer);
    builder.fmt_fields(Lines(format)).event_format(Lines(format)).finish()
}

/// What cannot be written is lost: a full disk, or a reader that went away, keeps nobody from serving.
struct Forgiving<W>(W);

impl<W: io::Write> io::Write for Forgiving<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// A line an event: `ts=... level=info target=... msg="..." key=value ...`, or an object with the same keys. Behind the event's own fields stand those of the spans around
/// it, innermost first: so `session` is in every line of one.
struct Lines(TraceFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::new(self.0, "");
        fields.put_text("ts", &calendar::rfc3339(carillon_actors::clock::Clock::system().microseconds()));
        fields.put_text("level", &event.metadata().level().as_str().to_ascii_lowercase());
        fields.put_text("target", event.metadata().target());
        event.record(&mut fields);
        for span in context.event_scope().into_iter().flatten() {
            if let Some(formatted) = span.extensions().get::<FormattedFields<N>>() {
                fields.text.push_str(&formatted.fields);
            }
        }
        match self.0 {
            TraceFormat::Logfmt => writeln!(writer, "{}", fields.text.trim_start()),
            // A terminal may show it.
            TraceFormat::Json => writeln!(writer, "{{{}}}", visible_json(fields.text.trim_start_matches(','))),
        }
    }
}

/// The fields of a span, in the same form.
impl<'writer> FormatFields<'writer> for Lines {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(&self, mut writer: Writer<'writer>, record: R) -> fmt::Result {
        // A span's id is the session's: the one key by which all lines of a session are found.
        let mut fields = Fields::new(self.0, "session");
        record.record(&mut fields);
        writer.write_str(&fields.text)
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, record: &tracing::span::Record<'_>) -> fmt::Result {
        let mut fields = Fields::new(self.0, "session");
        record.record(&mut fields);
        current.fields.push_str(&fields.text);
        Ok(())
    }
}

/// Fields as text, each with what parts it from the one before.
struct Fields {
    format: TraceFormat,
    /// The key of what is called `id`, where it has another.
    id: &'static str,
    text: String,
}

impl Fields {
    const fn new(format: TraceFormat, id: &'static str) -> Self {
        Self { format, id, text: String::new() }
    }

    fn key<'a>(&'a self, name: &'a str) -> &'a str {
        match name {
            "message" => "msg",
            "id" if !self.id.is_empty() => self.id,
            name => name,
        }
    }

    fn put_text(&mut self, name: &str, value: &str) {
        let key = self.key(name);
        let is_bare = |character: char| character.is_ascii_graphic() && !"\"=\\".contains(character);
        let field = match self.format {
            TraceFormat::Json => format!(",{}:{}", serde_json::json!(key), serde_json::json!(value)),
            TraceFormat::Logfmt if !value.is_empty() && value.chars().all(is_bare) => format!(" {key}={value}"),
            // Debug's escapes keep line ends and terminal codes of others' texts out of the trace.
            TraceFormat::Logfmt => format!(" {key}={value:?}"),
        };
        self.text.push_str(&field);
    }

    /// What JSON has a form of its own for: numbers, true and false.
    fn put_bare(&mut self, name: &str, value: &dyn fmt::Display) {
        let key = self.key(name);
        let field = match self.format {
            TraceFormat::Json => format!(",{}:{value}", serde_json::json!(key)),
            TraceFormat::Logfmt => format!(" {key}={value}"),
        };
        self.text.push_str(&field);
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_bare(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_bare(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put_bare(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.put_text(field.name(), &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A session's line.
    fn traced(format: TraceFormat) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        tracing::subscriber::with_default(subscriber(format, EnvFilter::new("info"), move || writer.clone()), || {
            let session = tracing::info_span!("session", id = "00ab", account = tracing::field::Empty);
            session.record("account", "17");
            let secret = carillon_protocol::text::Secret::new("hunter2");
            tracing::info!(parent: &session, name = "a\n\u{1b}\u{9b}b", count = 3, is_new = true, ?secret, "logged in");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("hunter2"));
        text
    }

    #[test]
    fn a_line_has_its_session_and_no_raw_control_characters() {
        let text = traced(TraceFormat::Logfmt);
        let end = " msg=\"logged in\" name=\"a\\n\\u{1b}\\u{9b}b\" count=3 is_new=true secret=Secret session=00ab account=17\n";
        assert!(text.ends_with(end), "{text}");
        assert!(text.starts_with("ts=2") && text.contains(" level=info target=carillon::trace::tests"), "{text}");
    }

    #[test]
    fn an_object_has_the_same_keys() {
        let text = traced(TraceFormat::Json);
        assert!(text.ends_with("}\n") && !text.trim_end().contains(char::is_control), "{text}");
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "ts": object["ts"], "level": "info", "target": "carillon::trace::tests", "msg": "logged in", "name": "a\n\u{1b}\u{9b}b",
            "count": 3, "is_new": true, "secret": "Secret", "session": "00ab", "account": "17",
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn what_cannot_be_written_is_no_error() {
        struct Broken;
        impl io::Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        assert_eq!(Forgiving(Broken).write(b"line\n").unwrap(), 5);
        Forgiving(Broken).flush().unwrap();
    }

    #[test]
    fn libraries_are_quiet_unless_they_are_asked() {
        assert_eq!(with_quiet_libraries("Debug"), "debug,sled=info,rustls=info,tokio_rustls=info");
        for filter in ["info", "debug,sled=debug", "off"] {
            assert_eq!(with_quiet_libraries(filter), filter);
        }
    }
}
