//! An import over the admin socket: the command reads the files, with its own rights, and sends messages; the server writes them. A batch is a line that says
//! what follows, and then the messages' bytes.

use std::collections::BTreeSet;
use std::io::{BufRead, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carillon_actors::id::AccountId;
use carillon_actors::session::auth::Authenticator;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagSet;
use carillon_protocol::mailbox_name::MailboxName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::Item;
use super::writer::{Writer, Written};
use crate::admin::server::Live;
use crate::admin::socket::{Caller, MAX_REQUEST_BYTES, broken, is_there, receive, send};
use crate::admin::{Reply, Request};
use crate::exit::{Exit, Failure};

/// Messages of a batch, which is one commit a mailbox.
pub const BATCH_MESSAGES: usize = 100;
/// A batch takes no further message once it holds this many bytes.
pub const BATCH_BYTES: usize = 16 << 20;
/// How often one who waits for another import is looked after.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A line of the import.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    Mailbox(MailboxName),
    Batch(Vec<Head>),
    End,
}

/// A message whose bytes follow the line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    mailbox: MailboxName,
    flags: FlagSet,
    internal_date: InternalDate,
    length: u64,
}

/// What the server says before it takes the first line.
#[derive(Debug, Serialize, Deserialize)]
enum Begun {
    /// Another import into this account is under way: it is waited for.
    Waiting,
    /// It takes messages of at most so many bytes.
    Ready { message_bytes: u64 },
}

/// Where a command sends what it read.
pub struct Remote {
    caller: Caller,
    message_bytes: u64,
}

impl Remote {
    /// Begins an import for a user; `waiting` is called where another one has to end first.
    ///
    /// # Errors
    /// There is no such user, or the server is gone.
    pub fn begin(stream: UnixStream, user: &str, mut waiting: impl FnMut()) -> Result<Self, Failure> {
        let mut caller = Caller::new(stream)?;
        caller.send(&Request::Import { user: user.to_owned() })?;
        loop {
            match answer(&mut caller)? {
                Begun::Waiting => waiting(),
                Begun::Ready { message_bytes } => return Ok(Self { caller, message_bytes }),
            }
        }
    }

    /// The longest message that the server takes, in bytes.
    pub fn message_bytes(&self) -> u64 {
        self.message_bytes
    }

    /// Makes sure that a mailbox is there; why it cannot be, where it cannot.
    ///
    /// # Errors
    /// The import ends here, and can be started again.
    pub fn mailbox(&mut self, name: &MailboxName) -> Result<Option<String>, Failure> {
        self.caller.send(&Line::Mailbox(name.clone()))?;
        answer(&mut self.caller)
    }

    /// Writes a batch; durable when this returns.
    ///
    /// # Errors
    /// The import ends here, and can be started again.
    pub fn batch(&mut self, items: &[Item]) -> Result<Written, Failure> {
        let head = |item: &Item| Head {
            mailbox: item.mailbox.clone(),
            flags: item.flags.clone(),
            internal_date: item.internal_date,
            length: item.bytes.len() as u64,
        };
        self.caller.send(&Line::Batch(items.iter().map(head).collect()))?;
        items.iter().try_for_each(|item| self.caller.write(&item.bytes))?;
        answer(&mut self.caller)
    }
}

fn answer<T: DeserializeOwned>(caller: &mut Caller) -> Result<T, Failure> {
    let row = caller.row()?.unwrap_or_default();
    serde_json::from_value(row).map_err(|error| broken(error.into()))
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.caller.send(&Line::End);
    }
}

/// Imports into one account come one after another. What is there is counted at the beginning of an import, and the last batch of one that was cut off may
/// still be on its way to the disk then: counted too early it would come twice.
struct Turn(AccountId);

/// The accounts that are imported into now.
static UNDER_WAY: (Mutex<BTreeSet<AccountId>>, Condvar) = (Mutex::new(BTreeSet::new()), Condvar::new());

fn under_way() -> MutexGuard<'static, BTreeSet<AccountId>> {
    UNDER_WAY.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turn {
    /// Waits until no other import into the account is under way; `waiting` is called at once and then each second, and says whether to go on waiting.
    fn take(account: AccountId, mut waiting: impl FnMut() -> bool) -> Option<Self> {
        while !under_way().insert(account) {
            if !waiting() {
                return None;
            }
            let accounts = under_way();
            if accounts.contains(&account) {
                drop(UNDER_WAY.1.wait_timeout(accounts, LOOK_AGAIN));
            }
        }
        Some(Self(account))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        under_way().remove(&self.0);
        UNDER_WAY.1.notify_all();
    }
}

/// The account that mail is imported into.
///
/// # Errors
/// There is no such user.
pub fn account_of(authenticator: &dyn Authenticator, user: &str) -> Result<AccountId, Failure> {
    authenticator.find(user).ok_or_else(|| Failure::new(Exit::NoUser, format!("there is no user {user:?}")))
}

/// The server's side: takes batches until the end.
///
/// # Errors
/// No such user, a batch that breaks the bounds, or one that cannot be written.
pub fn serve(
    live: &Live,
    user: &str,
    runtime: &Runtime,
    input: &mut dyn BufRead,
    output: &mut UnixStream,
) -> Result<(), Failure> {
    let account = account_of(live.authenticator.as_ref(), user)?;
    let mut has_said = false;
    let waiting = || {
        let is_told = has_said || row(output, &Begun::Waiting).is_ok();
        has_said = true;
        is_told && is_there(output)
    };
    let Some(_turn) = Turn::take(account, waiting) else { return Ok(()) };
    let message_bytes = live.core.limits.message_bytes;
    let mut writer = Writer::begin(&live.core, account);
    row(output, &Begun::Ready { message_bytes })?;
    while let Some(line) = receive::<Line>(input, MAX_REQUEST_BYTES).map_err(broken)? {
        match line {
            Line::End => break,
            Line::Mailbox(name) => row(output, &runtime.block_on(writer.mailbox(&name))?)?,
            Line::Batch(heads) => row(output, &runtime.block_on(writer.batch(items(heads, message_bytes, input)?))?)?,
        }
    }
    Ok(())
}

fn row<T: Serialize>(output: &mut UnixStream, value: &T) -> Result<(), Failure> {
    let value = serde_json::to_value(value).map_err(|error| broken(error.into()))?;
    send(output, &Reply::Row(value)).map_err(broken)
}

fn items(heads: Vec<Head>, message_bytes: u64, input: &mut dyn BufRead) -> Result<Vec<Item>, Failure> {
    let wrong = || Failure::new(Exit::Data, "a batch of the import breaks its bounds");
    let mut left = message_bytes.saturating_add(BATCH_BYTES as u64);
    let mut items = Vec::new();
    for Head { mailbox, flags, internal_date, length } in heads {
        left = left.checked_sub(length).filter(|_| length <= message_bytes).ok_or_else(wrong)?;
        // Names come from a command of this machine's administrator; they are checked all the same.
        let mailbox = MailboxName::from_segments(mailbox.segments()).map_err(|_| wrong())?;
        let mut bytes = Vec::new();
        input.take(length).read_to_end(&mut bytes).map_err(broken)?;
        if bytes.len() as u64 != length {
            return Err(wrong());
        }
        let (place, odd_keywords) = (String::new(), Vec::new());
        items.push(Item { place, mailbox, bytes, flags, odd_keywords, internal_date });
    }
    if items.len() > BATCH_MESSAGES { Err(wrong()) } else { Ok(items) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn imports_into_one_account_come_one_after_another() {
        let (account, other) = (AccountId(1), AccountId(2));
        let first = Turn::take(account, || false).unwrap();
        let (said, heard) = channel();
        let second = std::thread::spawn(move || {
            drop(Turn::take(other, || false).unwrap());
            said.send("another account").unwrap();
            let waiting = || {
                said.send("waiting").unwrap();
                true
            };
            drop(Turn::take(account, waiting).unwrap());
            said.send("the same account").unwrap();
        });
        assert_eq!((heard.recv().unwrap(), heard.recv().unwrap()), ("another account", "waiting"));
        assert!(Turn::take(account, || false).is_none(), "who does not wait gets no turn");
        drop(first);
        assert_eq!(heard.iter().find(|said| *said != "waiting"), Some("the same account"));
        second.join().unwrap();
        assert!(under_way().is_empty());
    }
}
