//! Every bound of the server in one place. `src/config.rs` fills it from the configuration.

use std::time::Duration;

/// The bounds.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A message in bytes (APPEND, LMTP).
    pub message_bytes: u64,
    /// Messages of one MULTIAPPEND.
    pub append_messages: usize,
    /// A command line in bytes, literals aside.
    pub line_bytes: usize,
    /// All literals of one command but APPEND's messages, in bytes, after login.
    pub literals_bytes: usize,
    /// The same before login.
    pub literals_bytes_before_login: usize,
    /// A message literal up to this many bytes stays in memory while it arrives; a longer one is spooled to a file.
    pub spool_bytes: u64,
    /// What is kept in memory of messages that were listed, sorted or searched, in bytes, over all mailboxes: some 60,000 messages in 64 MiB.
    pub glance_bytes: usize,
    /// Events of one command, and of those that share a list of commits, in bytes: some 400,000 messages that are copied or moved. The journal takes 48 MiB in a
    /// list; what is left is for the command's records in other logs.
    pub change_bytes: usize,
    /// Mailboxes of one account.
    pub mailboxes: usize,
    /// Subscriptions of one account.
    pub subscriptions: usize,
    /// Keywords of one mailbox; at most 64.
    pub keywords: usize,
    /// Autologout before login.
    pub login_timeout: Duration,
    /// Autologout after login, in IDLE too; at least 30 minutes (RFC 9051 §5.4).
    pub idle_timeout: Duration,
    /// A line in IDLE at least this often.
    pub heartbeat: Duration,
    /// How long a client may leave output unread before it is disconnected.
    pub write_timeout: Duration,
    /// BAD replies in a row before BYE.
    pub bad_commands: u32,
    /// Failed logins of one connection before BYE.
    pub failed_logins: u32,
    /// A mailbox actor without sessions retires after this long.
    pub retire_after: Duration,
    /// Recent changes that a state keeps for sessions to catch up with.
    pub recent_changes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 64 << 20,
            append_messages: 1000,
            line_bytes: 64 << 10,
            literals_bytes: 256 << 10,
            literals_bytes_before_login: 8 << 10,
            spool_bytes: 64 << 10,
            glance_bytes: 64 << 20,
            change_bytes: 46 << 20,
            mailboxes: 100_000,
            subscriptions: 100_000,
            keywords: 64,
            login_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(31 * 60),
            heartbeat: Duration::from_secs(120),
            write_timeout: Duration::from_secs(120),
            bad_commands: 20,
            failed_logins: 3,
            retire_after: Duration::from_secs(300),
            recent_changes: 10_000,
        }
    }
}
