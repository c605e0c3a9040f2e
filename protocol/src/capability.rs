//! The table of capabilities: the one place where an extension is advertised.

use std::borrow::Cow;

/// A capability as it is advertised, in capitals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(pub Cow<'static, str>);

impl Capability {
    /// The capability of a name in any case.
    pub fn new(name: &str) -> Self {
        Self(Cow::Owned(name.to_ascii_uppercase()))
    }

    /// The name as it stands on the wire: in capitals, but `IMAP4rev1`, as every client knows it.
    pub fn wire_name(&self) -> &str {
        match self.0.as_ref() {
            "IMAP4REV1" => "IMAP4rev1",
            "IMAP4REV2" => "IMAP4rev2",
            name => name,
        }
    }
}

/// When a capability is advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In every state, whatever the configuration says.
    Always,
    /// In every state.
    Any,
    /// Before login.
    NotAuthenticated,
    /// Before login, where a password may be sent.
    PasswordAllowed,
    /// Before login, where no password may be sent; no configuration hides it.
    PasswordForbidden,
    /// Before login, where TLS can be had and is not there yet (RFC 9051 §6.2.1).
    StartTls,
    /// After login.
    Authenticated,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name in capitals.
    pub name: &'static str,
    /// Where it is specified.
    pub specification: &'static str,
    /// When it is advertised.
    pub when: When,
}

const fn row(name: &'static str, specification: &'static str, when: When) -> Row {
    Row { name, specification, when }
}

/// Every capability, in the order in which they are advertised.
pub const TABLE: &[Row] = &[
    row("IMAP4REV1", "RFC 3501", When::Always),
    row("LITERAL+", "RFC 7888", When::Any),
    row("SASL-IR", "RFC 4959", When::NotAuthenticated),
    row("LOGIN-REFERRALS", "RFC 2221", When::NotAuthenticated),
    row("STARTTLS", "RFC 9051", When::StartTls),
    row("LOGINDISABLED", "RFC 9051", When::PasswordForbidden),
    row("AUTH=PLAIN", "RFC 4616", When::PasswordAllowed),
    row("AUTH=LOGIN", "draft-murchison-sasl-login", When::PasswordAllowed),
    row("ID", "RFC 2971", When::Any),
    row("ENABLE", "RFC 5161", When::Any),
    row("IDLE", "RFC 2177", When::Authenticated),
    row("NAMESPACE", "RFC 2342", When::Authenticated),
    row("MAILBOX-REFERRALS", "RFC 2193", When::Authenticated),
    row("CHILDREN", "RFC 3348", When::Authenticated),
    row("SPECIAL-USE", "RFC 6154", When::Authenticated),
    row("UIDPLUS", "RFC 4315", When::Authenticated),
    row("UNSELECT", "RFC 3691", When::Authenticated),
    row("MOVE", "RFC 6851", When::Authenticated),
    row("MULTIAPPEND", "RFC 3502", When::Authenticated),
    row("BINARY", "RFC 3516", When::Authenticated),
    row("STATUS=SIZE", "RFC 8438", When::Authenticated),
    row("SORT", "RFC 5256", When::Authenticated),
    row("THREAD=ORDEREDSUBJECT", "RFC 5256", When::Authenticated),
    row("THREAD=REFERENCES", "RFC 5256", When::Authenticated),
    row("SCAN", "UW-imapd", When::Authenticated),
];

/// What the list depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// After login.
    pub authenticated: bool,
    /// The connection is encrypted.
    pub tls: bool,
    /// A password may be sent without TLS: on loopback, or because the configuration says so.
    pub plaintext_login_allowed: bool,
    /// The server has a certificate.
    pub starttls_available: bool,
    /// What the configuration switches off, by name in any case.
    pub disabled: &'a [String],
}

impl Context<'_> {
    fn has(&self, row: &Row) -> bool {
        let may_send_password = self.tls || self.plaintext_login_allowed;
        let is_on = || !self.disabled.iter().any(|name| name.eq_ignore_ascii_case(row.name));
        match row.when {
            When::Always => true,
            When::Any => is_on(),
            When::NotAuthenticated => !self.authenticated && is_on(),
            When::PasswordAllowed => !self.authenticated && may_send_password && is_on(),
            When::PasswordForbidden => !self.authenticated && !may_send_password,
            When::StartTls => !self.authenticated && !self.tls && self.starttls_available && is_on(),
            When::Authenticated => self.authenticated && is_on(),
        }
    }
}

/// The capabilities to advertise in this state.
pub fn advertised(context: &Context<'_>) -> Vec<Capability> {
    TABLE.iter().filter(|row| context.has(row)).map(|row| Capability(Cow::Borrowed(row.name))).collect()
}

/// Whether the capability, named in any case, is advertised in this state.
pub fn is_advertised(context: &Context<'_>, name: &str) -> bool {
    TABLE.iter().any(|row| row.name.eq_ignore_ascii_case(name) && context.has(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(context: &Context<'_>) -> Vec<String> {
        advertised(context).iter().map(|capability| capability.wire_name().to_owned()).collect()
    }

    fn assert_has(context: &Context<'_>, all: &str) {
        let names = names(context);
        for name in all.split(' ') {
            assert!(names.contains(&name.to_owned()), "{name} is not in {names:?}");
        }
    }

    fn assert_has_not(context: &Context<'_>, all: &str) {
        let names = names(context);
        for name in all.split(' ') {
            assert!(!names.contains(&name.to_owned()), "{name} is in {names:?}");
        }
    }

    #[test]
    fn the_banner_of_the_story() {
        let before = Context { plaintext_login_allowed: true, starttls_available: true, ..Context::default() };
        assert_has(&before, "IMAP4rev1 LITERAL+ LOGIN-REFERRALS STARTTLS AUTH=PLAIN AUTH=LOGIN SASL-IR");
        assert_has_not(&before, "LOGINDISABLED IDLE SORT");
        let after = Context { authenticated: true, ..before };
        assert_has(
            &after,
            "IMAP4rev1 LITERAL+ IDLE NAMESPACE MAILBOX-REFERRALS BINARY UNSELECT SCAN SORT THREAD=REFERENCES \
             THREAD=ORDEREDSUBJECT MULTIAPPEND UIDPLUS MOVE STATUS=SIZE SPECIAL-USE CHILDREN ID ENABLE",
        );
        assert_has_not(&after, "STARTTLS LOGINDISABLED AUTH=PLAIN LITERAL-");
    }

    #[test]
    fn without_tls_no_password() {
        let context = Context { starttls_available: true, ..Context::default() };
        assert_has(&context, "LOGINDISABLED STARTTLS");
        assert_has_not(&context, "AUTH=PLAIN AUTH=LOGIN");
        let encrypted = Context { tls: true, ..context };
        assert_has(&encrypted, "AUTH=PLAIN AUTH=LOGIN");
        assert_has_not(&encrypted, "LOGINDISABLED STARTTLS");
    }

    #[test]
    fn what_is_disabled_is_left_out() {
        let disabled = ["sort".to_owned(), "IMAP4rev1".to_owned(), "LOGINDISABLED".to_owned()];
        let context = Context { authenticated: true, disabled: &disabled, ..Context::default() };
        assert_has_not(&context, "SORT");
        assert_has(&context, "IMAP4rev1");
        assert!(!is_advertised(&context, "Sort") && is_advertised(&context, "move"));
        assert_has(&Context { authenticated: false, ..context }, "LOGINDISABLED");
    }

    #[test]
    fn every_name_stands_once_and_in_capitals() {
        let mut names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        assert!(names.iter().all(|name| *name == name.to_ascii_uppercase()));
        assert_eq!(Capability::new("imap4rev1").wire_name(), "IMAP4rev1");
    }
}
