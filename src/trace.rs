//! The trace: diagnostics on standard error, one line an event. Secrets and message contents never reach it: `Secret` has no text, and nobody traces literals.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::calendar;
use crate::config::TraceFormat;
use crate::terminal::visible_json;

/// Sends the trace to standard error from now on. Called once; a second call changes nothing.
pub fn start(format: TraceFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match format {
        TraceFormat::Json => builder
            .with_writer(|| Visible(std::io::stderr()))
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(true)
            .try_init(),
        TraceFormat::Logfmt => builder.fmt_fields(Words).event_format(Logfmt).try_init(),
    };
}

/// Writes whole lines of JSON without raw control characters: a terminal may show them.
struct Visible<W>(W);

impl<W: std::io::Write> std::io::Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(visible_json(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// `ts=... level=info target=... msg="..." key=value ...`, then the fields of the spans around it, innermost first: so `session=` stands in every line of one.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = carillon_actors::clock::Clock::system().microseconds();
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        write!(writer, "ts={} level={level} target={}", calendar::rfc3339(now), event.metadata().target())?;
        let mut fields = Fields { text: String::new() };
        event.record(&mut fields);
        writer.write_str(&fields.text)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                // Of a session's span the id alone says nothing; as `session=` every line of one is found.
                match fields.fields.strip_prefix(" id=").filter(|_| span.name() == "session") {
                    Some(rest) => write!(writer, " session={rest}")?,
                    None => writer.write_str(&fields.fields)?,
                }
            }
        }
        writeln!(writer)
    }
}

/// The fields of a span, in the same form.
struct Words;

impl<'writer> FormatFields<'writer> for Words {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut words = Fields { text: String::new() };
        fields.record(&mut words);
        writer.write_str(&words.text)
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &tracing::span::Record<'_>) -> fmt::Result {
        let mut words = Fields { text: String::new() };
        fields.record(&mut words);
        current.fields.push_str(&words.text);
        Ok(())
    }
}

struct Fields {
    text: String,
}

impl Fields {
    fn put(&mut self, name: &str, value: &str) {
        let name = if name == "message" { "msg" } else { name };
        let is_bare = |character: char| character.is_ascii_graphic() && !"\"=\\".contains(character);
        if !value.is_empty() && value.chars().all(is_bare) {
            let _ = write!(self.text, " {name}={value}");
        } else {
            // Debug's escapes keep line ends and terminal codes of others' texts out of the trace.
            let _ = write!(self.text, " {name}={value:?}");
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.put(field.name(), &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
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

    #[test]
    fn a_line_has_its_session_and_no_raw_control_characters() {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber =
            tracing_subscriber::fmt().fmt_fields(Words).event_format(Logfmt).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let _session = tracing::info_span!("session", id = "00ab", account = tracing::field::Empty).entered();
            tracing::Span::current().record("account", "17");
            let secret = carillon_protocol::text::Secret::new("hunter2");
            tracing::info!(name = "a\n\u{1b}b", count = 3, ?secret, "logged in");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert!(
            text.ends_with(" msg=\"logged in\" name=\"a\\n\\u{1b}b\" count=3 secret=Secret session=00ab account=17\n"),
            "{text}"
        );
        assert!(text.starts_with("ts=2") && text.contains(" level=info target=carillon::trace::tests"), "{text}");
        assert!(!text.contains("hunter2"));
    }
}
