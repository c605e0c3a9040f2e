//! The table of options: the one place that knows their names, what is allowed, the defaults and what they mean. docs/operations.md lists it.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use carillon_protocol::capability::{TABLE, When};

use super::{Config, PlaintextLogin, TraceFormat};

/// What a file may write for an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string, or an array of strings. In the environment they are separated by commas.
    List,
    /// A whole number.
    Number,
}

/// An option.
pub struct Opt {
    /// Its name in the file; a dot separates table and key.
    pub key: &'static str,
    /// How it is written.
    pub kind: Kind,
    /// What is allowed.
    pub allowed: &'static str,
    /// The default, as text.
    pub default: &'static str,
    /// What it does, in a sentence.
    pub text: &'static str,
    /// Takes the value (of a list: one after the other, the list emptied before).
    pub(super) set: fn(&mut Config, &str) -> Option<()>,
    /// Empties a list.
    pub(super) clear: fn(&mut Config),
}

impl Opt {
    /// The name of its environment variable.
    pub fn variable(&self) -> String {
        format!("{}{}", super::source::PREFIX, self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// The name of its flag, where it has one.
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }
}

const fn option(
    key: &'static str,
    kind: Kind,
    allowed: &'static str,
    default: &'static str,
    text: &'static str,
    set: fn(&mut Config, &str) -> Option<()>,
) -> Opt {
    Opt { key, kind, allowed, default, text, set, clear: |_| () }
}

const fn list(mut option: Opt, clear: fn(&mut Config)) -> Opt {
    option.kind = Kind::List;
    option.clear = clear;
    option
}

const ADDRESSES: &str = "IP:PORT, [IPv6]:PORT or localhost:PORT, several as an array";

/// All options but the tables `[[referral.mailbox]]` and `[[referral.user]]`.
pub static OPTIONS: &[Opt] = &[
    option(
        "data",
        Kind::Text,
        "a path",
        "none: must be given",
        "The data directory. Made where it is missing.",
        |config, value| {
            config.data = Some(text(value)?.into());
            Some(())
        },
    ),
    option(
        "hostname",
        Kind::Text,
        "a host name",
        "localhost",
        "The server's name in greetings, Received fields and its own certificate.",
        |config, value| {
            config.hostname = host(value)?;
            Some(())
        },
    ),
    list(
        option("imap", Kind::List, ADDRESSES, "none", "Where IMAP is offered, with STARTTLS.", |config, value| {
            config.imap.push(address(value)?);
            Some(())
        }),
        |config| config.imap.clear(),
    ),
    list(
        option("imaps", Kind::List, ADDRESSES, "none", "Where IMAP over TLS is offered.", |config, value| {
            config.imaps.push(address(value)?);
            Some(())
        }),
        |config| config.imaps.clear(),
    ),
    list(
        option(
            "lmtp",
            Kind::List,
            "IP:PORT as for imap, but not port 25 (RFC 2033)",
            "none",
            "Where LMTP is offered. Whoever reaches it can deliver: keep it on loopback or behind a firewall.",
            |config, value| {
                config.lmtp.push(address(value).filter(|address| address.port() != 25)?);
                Some(())
            },
        ),
        |config| config.lmtp.clear(),
    ),
    option("lmtp_socket", Kind::Text, "a path", "none", "A unix socket for LMTP; its file gets mode 0660.", |config, value| {
        config.lmtp_socket = Some(text(value)?.into());
        Some(())
    }),
    list(
        option(
            "lmtp_domains",
            Kind::List,
            "host names",
            "none: every domain is taken",
            "Recipients of other domains are refused with 550 5.1.2. An address without domain is always taken.",
            |config, value| {
                config.lmtp_domains.push(host(value)?.to_ascii_lowercase());
                Some(())
            },
        ),
        |config| config.lmtp_domains.clear(),
    ),
    option(
        "plaintext_login",
        Kind::Text,
        "never, loopback, always",
        "loopback",
        "From where a password may be sent without TLS.",
        |config, value| {
            config.plaintext_login = match value {
                "never" => PlaintextLogin::Never,
                "loopback" => PlaintextLogin::Loopback,
                "always" => PlaintextLogin::Always,
                _ => return None,
            };
            Some(())
        },
    ),
    option(
        "separator",
        Kind::Text,
        "\"/\" or \".\"",
        "/",
        "The hierarchy separator in mailbox names. Names are stored without it: it can be changed later.",
        |config, value| {
            config.separator = match value {
                "/" => '/',
                "." => '.',
                _ => return None,
            };
            Some(())
        },
    ),
    list(
        option(
            "disabled_capabilities",
            Kind::List,
            "names as the server lists them, e.g. \"SCAN\"; not IMAP4rev1 and LOGINDISABLED",
            "none",
            "Capabilities that are not offered.",
            |config, value| {
                config.disabled_capabilities.push(capability(value)?);
                Some(())
            },
        ),
        |config| config.disabled_capabilities.clear(),
    ),
    option(
        "tls.certificate",
        Kind::Text,
        "a path",
        "none: the server makes its own under DIR/tls/",
        "The certificate chain, PEM, leaf first. Read again on SIGHUP.",
        |config, value| {
            config.tls_certificate = Some(text(value)?.into());
            Some(())
        },
    ),
    option("tls.key", Kind::Text, "a path", "none", "Its private key, PEM.", |config, value| {
        config.tls_key = Some(text(value)?.into());
        Some(())
    }),
    option(
        "trace_format",
        Kind::Text,
        "logfmt, json",
        "logfmt",
        "How the trace on standard error is written.",
        |config, value| {
            config.trace_format = match value {
                "logfmt" => TraceFormat::Logfmt,
                "json" => TraceFormat::Json,
                _ => return None,
            };
            Some(())
        },
    ),
    option(
        "trace_filter",
        Kind::Text,
        "error, warn, info, debug, trace, or directives like info,carillon_actors=debug",
        "info",
        "What the trace holds.",
        |config, value| {
            config.trace_filter = trace_filter(value)?;
            Some(())
        },
    ),
    option(
        "connections",
        Kind::Number,
        "1 to 1000000",
        "10000",
        "Connections at a time, all doors together.",
        |config, value| {
            config.connections = number(value, 1, 1_000_000)?;
            Some(())
        },
    ),
    option(
        "connections_per_address",
        Kind::Number,
        "1 to 1000000",
        "200",
        "Connections at a time of one address; of IPv6 of one /64. Loopback is not counted.",
        |config, value| {
            config.connections_per_address = number(value, 1, 1_000_000)?;
            Some(())
        },
    ),
    option("threads", Kind::Number, "0 to 1024", "0: one a core", "Threads that serve sessions.", |config, value| {
        config.threads = number(value, 0, 1024)?;
        Some(())
    }),
    option(
        "store.reserve_bytes",
        Kind::Number,
        "1048576 to 1099511627776",
        "67108864",
        "Changes are refused while the disk has fewer bytes free, uploads while it has fewer than twice as many.",
        |config, value| {
            config.store.reserve_bytes = number(value, 1 << 20, 1 << 40)?;
            Some(())
        },
    ),
    option(
        "store.segment_bytes",
        Kind::Number,
        "65536 to 1073741824",
        "67108864",
        "The length of a file of the message log, after which the next one is begun.",
        |config, value| {
            config.store.segment_bytes = number(value, 64 << 10, 1 << 30)?;
            Some(())
        },
    ),
    option(
        "store.checkpoint_milliseconds",
        Kind::Number,
        "10 to 3600000",
        "5000",
        "How often the index is brought to disk. What came later is put into it again by a start after a crash.",
        |config, value| {
            config.store.checkpoint_interval = Duration::from_millis(number(value, 10, 3_600_000)?);
            Some(())
        },
    ),
    option("limits.message_bytes", Kind::Number, "1024 to 1073741824", "67108864", "The longest message.", |config, value| {
        config.limits.message_bytes = number(value, 1024, 1 << 30)?;
        Some(())
    }),
    option("limits.append_messages", Kind::Number, "1 to 100000", "1000", "Messages of one MULTIAPPEND.", |config, value| {
        config.limits.append_messages = number(value, 1, 100_000)?;
        Some(())
    }),
    option(
        "limits.line_bytes",
        Kind::Number,
        "8192 to 16777216",
        "65536",
        "A command line without its literals.",
        |config, value| {
            config.limits.line_bytes = number(value, 8192, 16 << 20)?;
            Some(())
        },
    ),
    option(
        "limits.literals_bytes",
        Kind::Number,
        "1024 to 67108864",
        "262144",
        "All literals of one command after login, messages aside.",
        |config, value| {
            config.limits.literals_bytes = number(value, 1024, 64 << 20)?;
            Some(())
        },
    ),
    option(
        "limits.literals_bytes_before_login",
        Kind::Number,
        "256 to 65536",
        "8192",
        "The same before login.",
        |config, value| {
            config.limits.literals_bytes_before_login = number(value, 256, 64 << 10)?;
            Some(())
        },
    ),
    option(
        "limits.spool_bytes",
        Kind::Number,
        "0 to 16777216",
        "65536",
        "A longer message is spooled to a file while it arrives.",
        |config, value| {
            config.limits.spool_bytes = number(value, 0, 16 << 20)?;
            Some(())
        },
    ),
    option(
        "limits.glance_bytes",
        Kind::Number,
        "0 to 17179869184",
        "67108864",
        "Memory for what lists, sorts and searches ask of messages, some 1 KB each.",
        |config, value| {
            config.limits.glance_bytes = number(value, 0, 16 << 30)?;
            Some(())
        },
    ),
    option("limits.mailboxes", Kind::Number, "6 to 10000000", "100000", "Mailboxes of an account.", |config, value| {
        config.limits.mailboxes = number(value, 6, 10_000_000)?;
        Some(())
    }),
    option("limits.subscriptions", Kind::Number, "6 to 10000000", "100000", "Subscriptions of an account.", |config, value| {
        config.limits.subscriptions = number(value, 6, 10_000_000)?;
        Some(())
    }),
    option("limits.keywords", Kind::Number, "0 to 64", "64", "Keywords of a mailbox's messages.", |config, value| {
        config.limits.keywords = number(value, 0, 64)?;
        Some(())
    }),
    option("limits.login_timeout_seconds", Kind::Number, "10 to 3600", "60", "Autologout before login.", |config, value| {
        config.limits.login_timeout = seconds(value, 10, 3600)?;
        Some(())
    }),
    option(
        "limits.idle_timeout_seconds",
        Kind::Number,
        "1800 to 604800 (RFC 9051 5.4: 30 minutes or more)",
        "1860",
        "Autologout after login, in IDLE too.",
        |config, value| {
            config.limits.idle_timeout = seconds(value, 1800, 604_800)?;
            Some(())
        },
    ),
    option(
        "limits.heartbeat_seconds",
        Kind::Number,
        "5 to 1740",
        "120",
        "A line at least this often in IDLE.",
        |config, value| {
            config.limits.heartbeat = seconds(value, 5, 1740)?;
            Some(())
        },
    ),
    option(
        "limits.write_timeout_seconds",
        Kind::Number,
        "5 to 3600",
        "120",
        "How long a client may leave output unread.",
        |config, value| {
            config.limits.write_timeout = seconds(value, 5, 3600)?;
            Some(())
        },
    ),
    option("limits.bad_commands", Kind::Number, "1 to 1000000", "20", "BAD replies in a row before BYE.", |config, value| {
        config.limits.bad_commands = number(value, 1, 1_000_000)?;
        Some(())
    }),
    option(
        "limits.failed_logins",
        Kind::Number,
        "1 to 1000",
        "3",
        "Failed logins of a connection before BYE.",
        |config, value| {
            config.limits.failed_logins = number(value, 1, 1000)?;
            Some(())
        },
    ),
    option(
        "limits.retire_after_seconds",
        Kind::Number,
        "1 to 86400",
        "300",
        "A mailbox without sessions leaves memory after this long.",
        |config, value| {
            config.limits.retire_after = seconds(value, 1, 86_400)?;
            Some(())
        },
    ),
    option(
        "limits.recent_changes",
        Kind::Number,
        "64 to 1000000",
        "10000",
        "Changes that a mailbox keeps in memory for sessions to catch up with.",
        |config, value| {
            config.limits.recent_changes = number(value, 64, 1_000_000)?;
            Some(())
        },
    ),
];

fn text(value: &str) -> Option<String> {
    (!value.is_empty() && value.len() <= 4096 && !value.contains(char::is_control)).then(|| value.to_owned())
}

/// A level, or directives; a lone word that is no level would be taken for the name of a module, and nothing would be traced.
fn trace_filter(value: &str) -> Option<String> {
    tracing_subscriber::EnvFilter::try_new(value).ok()?;
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let is_sound = |directive: &str| is_level(directive) || directive.contains(['=', '[']);
    text(value).filter(|value| value.split(',').map(str::trim).all(is_sound))
}

pub(super) fn host(value: &str) -> Option<String> {
    let is_label = |label: &str| {
        let is_allowed = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        !label.is_empty() && label.len() <= 63 && is_allowed && !label.starts_with('-') && !label.ends_with('-')
    };
    (value.len() <= 253 && value.split('.').all(is_label)).then(|| value.to_owned())
}

fn capability(value: &str) -> Option<String> {
    let name = value.to_ascii_uppercase();
    let row = TABLE.iter().find(|row| row.name == name);
    row.filter(|row| !matches!(row.when, When::Always | When::PasswordForbidden)).map(|_| name)
}

fn address(value: &str) -> Option<SocketAddr> {
    if let Some(port) = value.strip_prefix("localhost:") {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?)));
    }
    value.parse().ok()
}

fn number<T: FromStr + PartialOrd>(value: &str, least: T, most: T) -> Option<T> {
    value.parse().ok().filter(|number| (least..=most).contains(number))
}

fn seconds(value: &str, least: u64, most: u64) -> Option<Duration> {
    number(value, least, most).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/operations.md lists every option as the table has it; `UPDATE=1` writes it.
    #[test]
    fn the_manual_lists_all_options() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("<!-- options").unwrap();
        let (mark, rest) = rest.split_once('\n').unwrap();
        let (_, after) = rest.split_once("<!-- end of options -->").unwrap();
        let escape = |text: &str| text.replace('|', "\\|");
        let row = |option: &Opt| {
            let (allowed, default, sentence) = (escape(option.allowed), escape(option.default), escape(option.text));
            format!("| `{}` | {allowed} | {default} | {sentence} |\n", option.key)
        };
        let rows: String = OPTIONS.iter().map(row).collect();
        let table = format!("| option | allowed | default | what it does |\n|---|---|---|---|\n{rows}");
        let expected = format!("{before}<!-- options{mark}\n{table}<!-- end of options -->{after}");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &expected).unwrap();
        } else {
            assert!(text == expected, "docs/operations.md is stale: UPDATE=1 cargo test -p carillon options");
        }
    }

    #[test]
    fn a_filter_is_levels_and_directives() {
        for filter in ["info", "Debug", "off", "info,carillon_actors=debug", "warn,[session{id=00ab}]=trace"] {
            assert_eq!(trace_filter(filter).as_deref(), Some(filter));
        }
        for filter in ["inf", "info,verbose", "", "a=b=c"] {
            assert_eq!(trace_filter(filter), None, "{filter}");
        }
    }

    #[test]
    fn defaults_are_as_documented_and_allowed() {
        for option in OPTIONS.iter().filter(|option| option.kind == Kind::Number) {
            let default = option.default.split(':').next().unwrap();
            assert!((option.set)(&mut Config::default(), default).is_some(), "{}", option.key);
            let mut set = Config::default();
            (option.set)(&mut set, default).unwrap();
            assert_eq!(format!("{set:?}"), format!("{:?}", Config::default()), "{}", option.key);
        }
    }
}
