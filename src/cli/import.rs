//! `carillon import`: reads files here, with this process's rights, and gives the messages to the server, or to the store where none is running.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use carillon_actors::id::AccountId;
use carillon_actors::limits::Limits;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_storage::Journal;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::Place;
use crate::admin::socket::connect;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::import::transfer::{BATCH_BYTES, BATCH_MESSAGES, Remote, Sink};
use crate::import::writer::{Writer, Written};
use crate::import::{Item, Outcome, maildir, mbox};
use crate::owner;
use crate::serve;
use crate::terminal::{line, plain};
use crate::users::Users;

/// `carillon import ...`
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// A maildir with its folders, as Maildir++ or as plain directories
    Maildir(Source),
    /// An mbox file, or a directory of them
    Mbox(Source),
}

/// Reads the source into an import.
type Read = Box<dyn FnOnce(&mut Import<'_>) -> Result<(), Failure> + Send>;

/// From where to whom.
#[derive(Debug, Args)]
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
    let config = place.config(Vec::new())?;
    let data = config.data()?.to_owned();
    let (ImportCommand::Maildir(source) | ImportCommand::Mbox(source)) = command;
    let root = match &source.mailbox {
        Some(name) => MailboxName::parse(name.as_bytes(), crate::admin::names::FORMAT)
            .map_err(|error| Failure::new(Exit::Usage, format!("{name:?} is no mailbox name: {error}")))?,
        None => MailboxName::inbox(),
    };
    if !source.path.exists() {
        return Err(Failure::new(Exit::Data, format!("{} is not there", source.path.display())));
    }
    let message_bytes = config.limits.message_bytes;
    let read: Read = match command {
        ImportCommand::Maildir(source) => {
            let listing = maildir::list(&source.path, &root);
            if listing.mailboxes.is_empty() {
                return Err(Failure::new(Exit::Data, format!("{} holds no maildir (no cur or new)", source.path.display())));
            }
            Box::new(move |import| read_maildir(listing, message_bytes, import))
        }
        ImportCommand::Mbox(source) => {
            let files = mbox_files(&source.path, &root)?;
            Box::new(move |import| read_mboxes(files, message_bytes, import))
        }
    };
    match connect(&data) {
        Some(stream) => Import::run(&mut Remote::begin(stream, &source.user)?, read),
        None => with_store(&config, &data, &source.user, read),
    }
}

/// No server runs: its actors do the work in this process.
fn with_store(config: &Config, data: &Path, user: &str, read: Read) -> Result<(), Failure> {
    let users = Users::open(data)?;
    let find = carillon_actors::session::auth::Authenticator::find(&users, user);
    let account = find.ok_or_else(|| Failure::new(Exit::NoUser, format!("there is no user {user:?}")))?;
    let store = serve::open_store(data, config.store.clone())?;
    let journal = Arc::clone(&store) as Arc<dyn Journal>;
    let outcome = serve::block_on(write(config.limits.clone(), journal, account, read));
    store.close();
    drop(store);
    outcome.and(owner::give_all(data))
}

async fn write(limits: Limits, journal: Arc<dyn Journal>, account: AccountId, read: Read) -> Result<(), Failure> {
    let core = serve::start_core(journal, 1, limits);
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Work>(1);
    // Reading blocks, and so does its sink: they have a thread of their own.
    let reader = std::thread::spawn(move || Import::run(&mut Local { sender }, read));
    let mut writer = Writer::begin(&core, account).await?;
    while let Some((mailbox, items, answer)) = receiver.recv().await {
        let written = match mailbox {
            Some(name) => writer.mailbox(&name).await.map(|()| Written::default()),
            None => writer.batch(items).await,
        };
        let _ = answer.send(written);
    }
    let outcome = reader.join().unwrap_or_else(|_| Err(Failure::new(Exit::Failed, "reading failed")));
    core.directory.end().await;
    outcome
}

type Work = (Option<MailboxName>, Vec<Item>, tokio::sync::oneshot::Sender<Result<Written, Failure>>);

/// The actors in this process.
struct Local {
    sender: tokio::sync::mpsc::Sender<Work>,
}

impl Local {
    fn ask(&self, mailbox: Option<MailboxName>, items: Vec<Item>) -> Result<Written, Failure> {
        let gone = || Failure::new(Exit::Failed, "the writer is gone");
        let (answer, receiver) = tokio::sync::oneshot::channel();
        self.sender.blocking_send((mailbox, items, answer)).map_err(|_| gone())?;
        receiver.blocking_recv().map_err(|_| gone())?
    }
}

impl Sink for Local {
    fn mailbox(&mut self, name: &MailboxName) -> Result<(), Failure> {
        self.ask(Some(name.clone()), Vec::new()).map(drop)
    }

    fn batch(&mut self, items: Vec<Item>) -> Result<Written, Failure> {
        self.ask(None, items)
    }
}

/// An import under way.
struct Import<'a> {
    sink: &'a mut dyn Sink,
    batch: Vec<Item>,
    bytes: usize,
    written: Written,
    unread: u64,
    bar: ProgressBar,
}

impl Import<'_> {
    fn run(sink: &mut dyn Sink, read: impl FnOnce(&mut Import<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        let bar = ProgressBar::no_length();
        let style =
            ProgressStyle::with_template("{bar:30} {percent}% {msg} {eta}").unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        let mut import = Import { sink, batch: Vec::new(), bytes: 0, written: Written::default(), unread: 0, bar };
        let outcome = read(&mut import).and_then(|()| import.flush());
        import.bar.finish_and_clear();
        let Import { written, unread, .. } = import;
        line(&format!(
            "{} messages imported, {} were there already, {unread} could not be read",
            written.imported, written.present
        ))?;
        match outcome {
            Ok(()) if unread > 0 => Err(Failure::new(Exit::Data, "some messages could not be read")),
            Err(failure) => Err(Failure::new(failure.exit, format!("{}; run the same command again to go on", failure.text))),
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

    fn report(&mut self, unread: &crate::import::Unread) -> Result<(), Failure> {
        self.unread += 1;
        let text = plain(&format!("{}: left out: {}", unread.place, unread.why));
        self.bar.suspend(|| line(&text)).map(drop)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let items = std::mem::take(&mut self.batch);
        let places: Vec<String> = items.iter().map(|item| item.place.clone()).collect();
        let written = self.sink.batch(items)?;
        for (index, why) in written.refused {
            let place = places.get(index).cloned().unwrap_or_default();
            self.report(&crate::import::Unread { place, why })?;
        }
        self.written.imported += written.imported;
        self.written.present += written.present;
        self.bar.set_message(format!("{} messages", self.written.imported + self.written.present));
        Ok(())
    }
}

fn read_maildir(listing: maildir::Listing, message_bytes: u64, import: &mut Import<'_>) -> Result<(), Failure> {
    listing.mailboxes.iter().try_for_each(|name| import.sink.mailbox(name))?;
    listing.unread.iter().try_for_each(|unread| import.report(unread))?;
    import.bar.set_length(listing.entries.len() as u64);
    for entry in &listing.entries {
        import.take(maildir::read(entry, message_bytes))?;
        import.bar.inc(1);
    }
    Ok(())
}

fn mbox_files(path: &Path, root: &MailboxName) -> Result<Vec<(PathBuf, MailboxName)>, Failure> {
    if path.is_file() {
        return Ok(vec![(path.to_owned(), root.clone())]);
    }
    let unreadable = |error: std::io::Error| Failure::new(Exit::Data, format!("cannot read {}: {error}", path.display()));
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(unreadable)?;
    let mut files = Vec::new();
    for entry in entries.iter().filter(|entry| entry.path().is_file()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let parent: &[String] = if root.is_inbox() { &[] } else { root.segments() };
        let levels = parent.iter().map(String::as_str).chain([name.strip_suffix(".mbox").unwrap_or(&name)]);
        let mailbox = MailboxName::from_segments(levels);
        files.push((entry.path(), mailbox.map_err(|error| Failure::new(Exit::Data, format!("{name:?}: {error}")))?));
    }
    files.sort();
    Ok(files)
}

fn read_mboxes(files: Vec<(PathBuf, MailboxName)>, message_bytes: u64, import: &mut Import<'_>) -> Result<(), Failure> {
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    import.bar.set_length(files.iter().map(|(path, _)| length(path)).sum());
    let mut before = 0;
    for (path, mailbox) in files {
        match mbox::Reader::open(&path, mailbox.clone(), message_bytes) {
            Ok(mut reader) => {
                import.sink.mailbox(&mailbox)?;
                while let Some(outcome) = reader.next() {
                    import.take(outcome)?;
                    import.bar.set_position(before + reader.offset());
                }
            }
            Err(unread) => import.report(&unread)?,
        }
        before += length(&path);
    }
    Ok(())
}
