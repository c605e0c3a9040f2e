//! The table of capabilities: the one place where an extension is advertised.

/// A capability as it is advertised, in capitals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(pub std::borrow::Cow<'static, str>);
