//! `carillon import`: reads files here, with this process's rights, and gives the messages to the server, or where none is running to actors over the store.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use carillon_protocol::mailbox_name::MailboxName;
use carillon_storage::Journal;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::Place;
use crate::admin::server::{self, Backend, Live};
use crate::admin::socket::{broken, connect};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::import::transfer::{BATCH_BYTES, BATCH_MESSAGES, Remote, account_of};
use crate::import::{Item, Outcome, Unread, maildir, mbox};
use crate::owner;
use crate::serve;
use crate::terminal::{line, note, plain};
use crate::users::Users;

/// `carillon import ...`
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// A maildir with its folders, as Maildir++ or as plain directories
    Maildir(Source),
    /// An mbox file, or a directory of them
    Mbox(Source),
}

/// What is to be read.
enum Listing {
    Maildir(maildir::Listing),
    Mbox(mbox::Listing),
}

/// From where to whom.
#[derive(Clone, Debug, Args)]
pub struct Source {
    /// The maildir, mbox file or directory of mbox files
    path: PathBuf,
    /// Whose account
    user: String,
    /// Put it into this mailbox instead of INBOX, and folders below it
    #[arg(long, value_name = "NAME")]
    mailbox: Option<String>,
}

pub(super) fn run(place: &Place, command: &ImportCommand) -> Result<(), Failure> {
    let (config, data) = place.config_and_data()?;
    let (ImportCommand::Maildir(source) | ImportCommand::Mbox(source)) = command;
    let root = match &source.mailbox {
        Some(name) => MailboxName::parse(name.as_bytes(), crate::admin::names::FORMAT)
            .map_err(|error| Failure::new(Exit::Usage, format!("{name:?} is no mailbox name: {error}")))?,
        None => MailboxName::inbox(),
    };
    let shown = source.path.display();
    if let Err(error) = std::fs::metadata(&source.path) {
        let why = if error.kind() == std::io::ErrorKind::NotFound {
            "is not there".to_owned()
        } else {
            format!("cannot be read: {error}")
        };
        return Err(Failure::new(Exit::Data, format!("{shown} {why}")));
    }
    let listing = match command {
        ImportCommand::Maildir(_) => {
            let listing = maildir::list(&source.path, &root);
            if listing.mailboxes.is_empty() && (listing.unread.is_empty() || !source.path.is_dir()) {
                return Err(Failure::new(Exit::Data, format!("{shown} holds no maildir (no cur or new)")));
            }
            Listing::Maildir(listing)
        }
        ImportCommand::Mbox(_) => Listing::Mbox(mbox::list(&source.path, &root)),
    };
    match connect(&data)? {
        Some(stream) => Import::run(stream, &source.user, listing),
        None => with_store(config, &data, &source.user, listing),
    }
}

/// No server runs: its actors do the work in this process, as the user whose directory it is. What reads the files keeps the rights of whoever started the command.
fn with_store(config: Config, data: &Path, user: &str, listing: Listing) -> Result<(), Failure> {
    let (near, far) = UnixStream::pair().map_err(broken)?;
    let name = user.to_owned();
    // It begins when it is answered, and ends when nobody answers any more.
    let reader = thread::spawn(move || Import::run(near, &name, listing));
    write(config, data, user, far)?;
    reader.join().unwrap_or_else(|_| Err(Failure::new(Exit::Failed, "reading failed")))
}

/// Writes what comes over a connection, until it ends.
fn write(config: Config, data: &Path, user: &str, stream: UnixStream) -> Result<(), Failure> {
    owner::work_as_owner(data)?;
    let users = Arc::new(Users::open(data)?);
    // Before a store is made where there is none.
    account_of(users.as_ref(), user)?;
    let store = serve::open_store(data, config.store.clone())?;
    let journal = Arc::clone(&store) as Arc<dyn Journal>;
    let ended = serve::block_on(async {
        let core = serve::start_core(Arc::clone(&journal), 1, config.limits);
        let live = Live { core: core.clone(), authenticator: users.clone(), reload_users: Arc::new(|| Ok(0)) };
        let backend = Backend { journal, store: None, names: users, live: Some(live), only_aside: None };
        // A conversation blocks: it has a thread of its own, as in the server.
        let (ended, end) = tokio::sync::oneshot::channel();
        thread::spawn(move || ended.send(server::converse(&backend, stream, &Arc::default())));
        let ended = end.await;
        core.directory.end().await;
        ended
    });
    store.close();
    // How the connection ended is the reader's to tell.
    ended.map(drop).map_err(|_| Failure::new(Exit::Failed, "writing failed"))
}

/// An import under way.
struct Import {
    remote: Remote,
    batch: Vec<Item>,
    bytes: usize,
    counts: Counts,
    bar: ProgressBar,
}

/// What became of it so far.
#[derive(Default)]
struct Counts {
    imported: u64,
    present: u64,
    unread: u64,
    without_keywords: u64,
}

impl Import {
    fn run(stream: UnixStream, user: &str, listing: Listing) -> Result<(), Failure> {
        let waiting = || note("waiting for another import into this account to end");
        let remote = Remote::begin(stream, user, waiting)?;
        let bar = ProgressBar::no_length();
        let style =
            ProgressStyle::with_template("{bar:30} {percent}% {msg} {eta}").unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        let mut import = Self { remote, batch: Vec::new(), bytes: 0, counts: Counts::default(), bar };
        let read = match listing {
            Listing::Maildir(listing) => import.maildir(listing),
            Listing::Mbox(listing) => import.mboxes(listing),
        };
        let outcome = read.and_then(|()| import.flush());
        import.bar.finish_and_clear();
        let Counts { imported, present, unread, without_keywords } = import.counts;
        line(&format!("{imported} messages imported, {present} were there already, {unread} could not be read"))?;
        match outcome {
            Err(failure) if matches!(failure.exit, Exit::TryAgain | Exit::Unreachable) => {
                Err(Failure::new(failure.exit, format!("{}; run the same command again to go on", failure.text)))
            }
            Err(failure) => Err(failure),
            Ok(()) if unread > 0 => Err(Failure::new(Exit::Data, "not everything could be read")),
            Ok(()) if without_keywords > 0 => {
                Err(Failure::new(Exit::Data, format!("{without_keywords} messages are without some of their keywords")))
            }
            Ok(()) => Ok(()),
        }
    }

    fn take(&mut self, outcome: Outcome) -> Result<(), Failure> {
        match outcome {
            Ok(item) => {
                self.bytes += item.bytes.len();
                self.batch.push(item);
                if self.batch.len() >= BATCH_MESSAGES || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
            }
            Err(unread) => self.report(&unread),
        }
    }

    fn report(&mut self, unread: &Unread) -> Result<(), Failure> {
        self.counts.unread += 1;
        self.say(&format!("{}: left out: {}", unread.place, unread.why))
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        self.bar.suspend(|| line(&plain(text))).map(drop)
    }

    /// Makes sure that a mailbox is there, or reports that it cannot be: its messages will be too.
    fn mailbox(&mut self, name: &MailboxName) -> Result<(), Failure> {
        match self.remote.mailbox(name)? {
            None => Ok(()),
            Some(why) => self.report(&Unread { place: format!("mailbox {}", crate::admin::names::text(name)), why }),
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let items = std::mem::take(&mut self.batch);
        let mut written = self.remote.batch(&items)?;
        let mut refused = written.refused.into_iter().collect::<std::collections::BTreeMap<_, _>>();
        for (index, Item { place, odd_keywords, .. }) in items.into_iter().enumerate() {
            if let Some(why) = refused.remove(&index) {
                self.report(&Unread { place, why })?;
                continue;
            }
            let lost =
                written.lost_keywords.iter_mut().filter(|(other, _)| *other == index).flat_map(|(_, lost)| std::mem::take(lost));
            let lost: Vec<String> = lost.chain(odd_keywords).collect();
            if !lost.is_empty() {
                self.counts.without_keywords += 1;
                self.say(&format!("{place}: keywords left out: {}", lost.join(" ")))?;
            }
        }
        self.counts.imported += written.imported;
        self.counts.present += written.present;
        self.bar.set_message(format!("{} messages", self.counts.imported + self.counts.present));
        Ok(())
    }

    fn maildir(&mut self, listing: maildir::Listing) -> Result<(), Failure> {
        let message_bytes = self.remote.message_bytes();
        listing.unread.iter().try_for_each(|unread| self.report(unread))?;
        listing.mailboxes.iter().try_for_each(|name| self.mailbox(name))?;
        self.bar.set_length(listing.entries.len() as u64);
        for entry in &listing.entries {
            self.take(maildir::read(entry, message_bytes))?;
            self.bar.inc(1);
        }
        Ok(())
    }

    fn mboxes(&mut self, listing: mbox::Listing) -> Result<(), Failure> {
        let message_bytes = self.remote.message_bytes();
        listing.unread.iter().try_for_each(|unread| self.report(unread))?;
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        self.bar.set_length(listing.files.iter().map(|(path, _)| length(path)).sum());
        let mut before = 0;
        for (path, mailbox) in listing.files {
            match mbox::Reader::open(&path, mailbox.clone(), message_bytes) {
                Ok(mut reader) => {
                    self.mailbox(&mailbox)?;
                    while let Some(outcome) = reader.next() {
                        self.take(outcome)?;
                        self.bar.set_position(before + reader.offset());
                    }
                }
                Err(unread) => self.report(&unread)?,
            }
            before += length(&path);
        }
        Ok(())
    }
}
