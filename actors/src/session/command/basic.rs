//! CAPABILITY, LOGOUT, ID, STARTTLS, ENABLE, NAMESPACE: what needs no mailbox.

use carillon_protocol::capability::{self, Capability};
use carillon_protocol::response::Untagged;

use super::super::reply::{self, Ending, Farewell, Reply};
use super::super::settings::PlaintextLogin;
use super::super::state::Session;

/// So many characters of what a client says of itself are kept.
const MAX_CLIENT: usize = 1000;

impl Session {
    /// The capabilities of the state that the session is in.
    pub fn capabilities(&self) -> Vec<Capability> {
        capability::advertised(&self.capability_context())
    }

    /// Whether a capability is advertised now.
    pub fn offers(&self, name: &str) -> bool {
        capability::is_advertised(&self.capability_context(), name)
    }

    fn capability_context(&self) -> capability::Context<'_> {
        capability::Context {
            authenticated: self.login.is_some(),
            tls: self.tls.is_some(),
            plaintext_login_allowed: self.may_log_in_plainly(),
            starttls_available: self.doors.tls.is_some(),
            disabled: &self.doors.settings.disabled_capabilities,
        }
    }

    /// Whether a password may come as it stands on this connection.
    pub fn may_log_in_plainly(&self) -> bool {
        match self.doors.settings.plaintext_login {
            _ if self.tls.is_some() => true,
            PlaintextLogin::Never => false,
            PlaintextLogin::Loopback => self.peer.ip().to_canonical().is_loopback(),
            PlaintextLogin::Always => true,
        }
    }

    /// Whether STARTTLS would be answered with OK.
    pub fn may_start_tls(&self) -> bool {
        self.doors.tls.is_some() && self.tls.is_none() && self.login.is_none()
    }
}

/// RFC 9051 §6.1.1.
pub fn capability(session: &mut Session) -> Reply {
    let capabilities = session.capabilities();
    session.tell(&Untagged::Capability(capabilities));
    Ok(reply::ok("These are my capabilities"))
}

/// RFC 9051 §6.1.3: BYE comes before the tagged OK.
pub fn logout(session: &mut Session) -> Reply {
    // Nothing of the mailbox is told any more.
    session.deselect();
    session.tell(&Untagged::Status(reply::bye(Farewell::Logout)));
    Ok(reply::ok("Goodbye"))
}

/// RFC 9051 §6.2.1.
pub fn start_tls(session: &mut Session) -> Reply {
    if session.tls.is_some() {
        return Err(Ending::Bad("TLS is active already"));
    }
    if session.doors.tls.is_none() {
        return Err(Ending::Bad("TLS is not available here"));
    }
    Ok(reply::ok("Begin the TLS handshake now"))
}

/// RFC 2971: what the client says goes to the trace and to the server's log, what we say is name and version.
pub fn id(session: &mut Session, fields: Option<Vec<(String, Option<String>)>>) -> Reply {
    let said: Vec<(String, String)> =
        fields.unwrap_or_default().into_iter().filter_map(|(field, value)| value.map(|value| (field, value))).collect();
    if !said.is_empty() {
        let client = said.iter().map(|(field, value)| format!("{field}={value}")).collect::<Vec<_>>().join(" ");
        identify(session, client.chars().take(MAX_CLIENT).collect());
    }
    let ours = [("name", "carillon"), ("version", env!("CARGO_PKG_VERSION"))];
    session.tell(&Untagged::Id(ours.map(|(field, value)| (field.to_owned(), Some(value.to_owned()))).into()));
    Ok(reply::ok("Nice to meet you"))
}

/// Notes who the client says that it is. What it says again and again must not fill the trace.
fn identify(session: &mut Session, client: String) {
    match &session.client {
        Some(known) if *known == client => return,
        Some(_) => tracing::debug!(client, "client"),
        None => tracing::info!(client, "client"),
    }
    session.client = Some(client.clone());
    if session.login.is_some() {
        session.doors.core.directory.session_identified(session.id, client);
    }
}

/// RFC 5161: no capability of this stage changes by being enabled, so the answer names none.
pub fn enable(session: &mut Session, _names: &[String]) -> Reply {
    session.tell(&Untagged::Enabled(Vec::new()));
    Ok(reply::ok("Done"))
}

/// RFC 2342: one personal namespace, without prefix.
pub fn namespace(session: &mut Session) -> Reply {
    let separator = session.connection.format().separator;
    session.tell(&Untagged::Namespace([vec![(String::new(), separator)], Vec::new(), Vec::new()]));
    Ok(reply::ok("Done"))
}
