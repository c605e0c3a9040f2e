//! The table of capabilities: the one place where an extension is advertised.

/// A capability as it is advertised, in capitals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(pub std::borrow::Cow<'static, str>);

impl Capability {
    /// The name as it stands on the wire: in capitals, but `IMAP4rev1`, as every client knows it.
    pub fn wire_name(&self) -> &str {
        match self.0.as_ref() {
            "IMAP4REV1" => "IMAP4rev1",
            "IMAP4REV2" => "IMAP4rev2",
            name => name,
        }
    }
}
