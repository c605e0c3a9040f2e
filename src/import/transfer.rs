//! An import over the admin socket: the command reads the files, with its own rights, and sends messages; the server writes them. A batch is a line that says
//! what follows, and then the messages' bytes.

use std::collections::BTreeSet;
use std::io::{BufRead, Read as _, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, PoisonError};

use carillon_actors::id::AccountId;
use carillon_actors::server::Core;
use carillon_actors::session::auth::Authenticator;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagSet;
use carillon_protocol::mailbox_name::MailboxName;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::Item;
use super::writer::{Writer, Written};
use crate::admin::socket::{receive, send};
use crate::admin::{Reply, Request};
use crate::exit::{Exit, Failure};

/// Messages of a batch, which is one commit a mailbox.
pub const BATCH_MESSAGES: usize = 100;
/// A batch takes no further message once it holds this many bytes.
pub const BATCH_BYTES: usize = 16 << 20;

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

/// Where a command sends what it read.
pub trait Sink {
    /// Makes sure that a mailbox is there.
    ///
    /// # Errors
    /// It cannot be made.
    fn mailbox(&mut self, name: &MailboxName) -> Result<(), Failure>;

    /// Writes a batch; durable when this returns.
    ///
    /// # Errors
    /// The import ends here, and can be started again.
    fn batch(&mut self, items: Vec<Item>) -> Result<Written, Failure>;
}

/// The running server.
pub struct Remote {
    input: std::io::BufReader<UnixStream>,
    output: UnixStream,
}

fn broken(error: std::io::Error) -> Failure {
    Failure::new(Exit::Unreachable, format!("the server does not answer: {error}"))
}

impl Remote {
    /// Begins an import for a user.
    ///
    /// # Errors
    /// There is no such user, or the server is gone.
    pub fn begin(stream: UnixStream, user: &str) -> Result<Self, Failure> {
        let input = std::io::BufReader::new(stream.try_clone().map_err(broken)?);
        let mut remote = Self { input, output: stream };
        send(&mut remote.output, &Request::Import { user: user.to_owned() }).map_err(broken)?;
        remote.answer().map(|_| remote)
    }

    fn answer(&mut self) -> Result<Written, Failure> {
        match receive::<Reply>(&mut self.input).map_err(broken)? {
            Some(Reply::Row(value)) => Ok(serde_json::from_value(value).unwrap_or_default()),
            Some(Reply::Done) => Ok(Written::default()),
            Some(Reply::Failed { exit, text }) => Err(Failure::new(Exit::from_number(exit), text)),
            None => Err(Failure::new(Exit::Unreachable, "the server ended")),
        }
    }
}

impl Sink for Remote {
    fn mailbox(&mut self, name: &MailboxName) -> Result<(), Failure> {
        send(&mut self.output, &Line::Mailbox(name.clone())).map_err(broken)?;
        self.answer().map(drop)
    }

    fn batch(&mut self, items: Vec<Item>) -> Result<Written, Failure> {
        let head = |item: &Item| Head {
            mailbox: item.mailbox.clone(),
            flags: item.flags.clone(),
            internal_date: item.internal_date,
            length: item.bytes.len() as u64,
        };
        send(&mut self.output, &Line::Batch(items.iter().map(head).collect())).map_err(broken)?;
        items.iter().try_for_each(|item| self.output.write_all(&item.bytes)).map_err(broken)?;
        self.answer()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = send(&mut self.output, &Line::End);
    }
}

/// Imports into one account come one after another. What is there is counted at the beginning of an import, and the last batch of one that was cut off may
/// still be on its way to the disk then: counted too early it would come twice.
struct Turn(AccountId);

/// The accounts that are imported into now.
static UNDER_WAY: (Mutex<BTreeSet<AccountId>>, Condvar) = (Mutex::new(BTreeSet::new()), Condvar::new());

impl Turn {
    /// Waits until no other import into the account is under way.
    fn take(account: AccountId) -> Self {
        let mut accounts = UNDER_WAY.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !accounts.insert(account) {
            accounts = UNDER_WAY.1.wait(accounts).unwrap_or_else(PoisonError::into_inner);
        }
        Self(account)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        UNDER_WAY.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        UNDER_WAY.1.notify_all();
    }
}

/// The server's side: takes batches until the end.
///
/// # Errors
/// No such user, a batch that breaks the bounds, or one that cannot be written.
pub fn serve(
    core: &Core,
    authenticator: &dyn Authenticator,
    user: &str,
    runtime: &Runtime,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let account = authenticator.find(user).ok_or_else(|| Failure::new(Exit::NoUser, format!("there is no user {user:?}")))?;
    let _turn = Turn::take(account);
    let mut writer = runtime.block_on(Writer::begin(core, account))?;
    let row = |output: &mut dyn Write, written: Written| {
        send(output, &Reply::Row(serde_json::to_value(written).unwrap_or_default())).map_err(broken)
    };
    row(output, Written::default())?;
    while let Some(line) = receive::<Line>(input).map_err(broken)? {
        let written = match line {
            Line::End => break,
            Line::Mailbox(name) => runtime.block_on(writer.mailbox(&name)).map(|()| Written::default())?,
            Line::Batch(heads) => runtime.block_on(writer.batch(items(heads, core.limits.message_bytes, input)?))?,
        };
        row(output, written)?;
    }
    Ok(())
}

fn items(heads: Vec<Head>, message_bytes: u64, input: &mut dyn BufRead) -> Result<Vec<Item>, Failure> {
    let wrong = || Failure::new(Exit::Data, "a batch of the import breaks its bounds");
    let mut left = message_bytes.saturating_add(BATCH_BYTES as u64);
    let mut items = Vec::new();
    for Head { mailbox, flags, internal_date, length } in heads {
        left = left.checked_sub(length).ok_or_else(wrong)?;
        // Names come from a command of this machine's administrator; they are checked all the same.
        let mailbox = MailboxName::from_segments(mailbox.segments()).map_err(|_| wrong())?;
        let mut bytes = Vec::new();
        input.take(length).read_to_end(&mut bytes).map_err(broken)?;
        if bytes.len() as u64 != length {
            return Err(wrong());
        }
        items.push(Item { place: String::new(), mailbox, bytes, flags, internal_date });
    }
    if items.len() > BATCH_MESSAGES { Err(wrong()) } else { Ok(items) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn imports_into_one_account_come_one_after_another() {
        let (account, other) = (AccountId(1), AccountId(2));
        let first = Turn::take(account);
        let (said, heard) = channel();
        let second = std::thread::spawn(move || {
            drop(Turn::take(other));
            said.send("another account").unwrap();
            drop(Turn::take(account));
            said.send("the same account").unwrap();
        });
        assert_eq!(heard.recv().unwrap(), "another account");
        assert!(heard.recv_timeout(Duration::from_millis(50)).is_err(), "the first import is still under way");
        drop(first);
        assert_eq!(heard.recv().unwrap(), "the same account");
        second.join().unwrap();
    }
}
