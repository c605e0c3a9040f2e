//! Imports into real actors over a journal in memory, on one thread under a paused clock.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use carillon_actors::clock::Clock;
use carillon_actors::id::Ids;
use carillon_actors::limits::Limits;
use carillon_actors::placement::Placement;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::{Flag, FlagSet, Keyword, SystemFlag};
use carillon_storage::Journal;
use carillon_storage::MemoryJournal;
use carillon_storage::fault::{AppendFault, FaultJournal};

use super::*;

const ACCOUNT: AccountId = AccountId(1);

fn simulate<T>(test: impl Future<Output = T>) -> T {
    let system = actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(test)
}

fn core(journal: impl Journal + 'static, limits: Limits) -> Core {
    let clock = Clock::new(|| 1_768_212_000_000_000);
    Core::start(Arc::new(journal), Placement::one_thread(), clock, Ids::new(1, 1), limits)
}

fn name(text: &str) -> MailboxName {
    MailboxName::from_segments(text.split('/')).unwrap()
}

fn item(mailbox: &str, text: &str, keywords: &[&str]) -> Item {
    let keywords = keywords.iter().map(|keyword| Flag::Keyword(Keyword::new(keyword).unwrap()));
    Item {
        place: String::new(),
        mailbox: name(mailbox),
        bytes: format!("Subject: {text}\r\n\r\n").into_bytes(),
        flags: keywords.chain([Flag::System(SystemFlag::Seen)]).collect(),
        odd_keywords: Vec::new(),
        internal_date: InternalDate { unix_seconds: 0, offset_minutes: 0 },
    }
}

/// The flags of each message of a mailbox.
async fn flags(writer: &mut Writer, mailbox: &str) -> Vec<FlagSet> {
    let mailbox = writer.find_or_make(&name(mailbox)).await.unwrap();
    let snapshot = writer.open(mailbox).await.unwrap().peek().await.unwrap().snapshot;
    snapshot.messages().iter().map(|message| snapshot.flag_set(message.flags)).collect()
}

/// The usual migration lasts longer than a mailbox stays in memory that nobody uses.
#[test]
fn a_mailbox_that_retired_is_opened_again() {
    simulate(async {
        let core = core(MemoryJournal::new(), Limits::default());
        let mut writer = Writer::begin(&core, ACCOUNT);
        for folder in ["INBOX", "Work", "Work/2024"] {
            assert_eq!(writer.mailbox(&name(folder)).await.unwrap(), None);
        }
        for (number, folder) in ["INBOX", "Work", "INBOX", "Work/2024", "Work"].into_iter().enumerate() {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            let items = vec![item(folder, &number.to_string(), &[]), item(folder, "the same", &[])];
            let written = writer.batch(items).await.unwrap();
            assert_eq!((written.imported, written.present), (2, 0), "{folder}");
        }
        assert_eq!(flags(&mut writer, "INBOX").await.len(), 4);
        // Once more from the start: everything is there, as often as it was.
        let mut writer = Writer::begin(&core, ACCOUNT);
        let again =
            vec![item("Work", "1", &[]), item("Work", "the same", &[]), item("Work", "the same", &[]), item("Work", "new", &[])];
        let written = writer.batch(again).await.unwrap();
        assert_eq!((written.imported, written.present), (1, 3));
    });
}

/// A user may tidy up meanwhile.
#[test]
fn a_mailbox_that_was_deleted_or_renamed_is_no_obstacle() {
    simulate(async {
        let core = core(MemoryJournal::new(), Limits::default());
        let mut writer = Writer::begin(&core, ACCOUNT);
        let account = core.directory.account(ACCOUNT).await.unwrap();
        writer.batch(vec![item("Work", "1", &[])]).await.unwrap();
        account.change(Author::default(), AccountChange::Rename { from: name("Work"), to: name("Job") }).await.unwrap();
        assert_eq!(writer.batch(vec![item("Work", "2", &[])]).await.unwrap().imported, 1);
        account.change(Author::default(), AccountChange::Delete(name("Job"))).await.unwrap();
        assert_eq!(writer.batch(vec![item("Work", "3", &[])]).await.unwrap().imported, 1);
        assert_eq!(flags(&mut writer, "Work").await.len(), 1);
    });
}

#[test]
fn what_has_no_mailbox_or_no_bytes_is_refused_alone() {
    simulate(async {
        let core = core(MemoryJournal::new(), Limits { mailboxes: 7, ..Limits::default() });
        let mut writer = Writer::begin(&core, ACCOUNT);
        assert_eq!(writer.mailbox(&name("One")).await.unwrap(), None);
        let full = "the account holds no further mailbox";
        assert_eq!(writer.mailbox(&name("Two")).await.unwrap().as_deref(), Some(full));
        let empty = Item { bytes: Vec::new(), ..item("One", "", &[]) };
        let written =
            writer.batch(vec![item("Two", "1", &[]), item("One", "2", &[]), empty, item("Two", "3", &[])]).await.unwrap();
        assert_eq!(written.imported, 1);
        let mut refused = written.refused;
        refused.sort();
        assert_eq!(refused, [(0, full.to_owned()), (2, "empty".to_owned()), (3, full.to_owned())]);
    });
}

#[test]
fn keywords_go_as_far_as_there_is_room() {
    simulate(async {
        let core = core(MemoryJournal::new(), Limits { keywords: 3, ..Limits::default() });
        let mut writer = Writer::begin(&core, ACCOUNT);
        let batch = vec![item("INBOX", "1", &["a", "b"]), item("INBOX", "2", &["c", "d"]), item("INBOX", "3", &["D", "A"])];
        let written = writer.batch(batch).await.unwrap();
        assert_eq!(written.imported, 3);
        assert_eq!(written.lost_keywords, [(1, vec!["d".to_owned()]), (2, vec!["D".to_owned()])]);
        let kept: Vec<usize> = flags(&mut writer, "INBOX").await.iter().map(|flags| flags.keywords().len()).collect();
        assert_eq!(kept, [2, 1, 1]);
        assert!(flags(&mut writer, "INBOX").await.iter().all(|flags| flags.has(SystemFlag::Seen)));
        // One that no message has any more makes room for another.
        let inbox = writer.find_or_make(&name("INBOX")).await.unwrap();
        let inbox = writer.open(inbox).await.unwrap();
        let uids = inbox.peek().await.unwrap().snapshot.messages().uids();
        let flags_of = FlagSet::from_parts(0, [Keyword::new("c").unwrap()]);
        let change = Change::Store { uids, change: carillon_protocol::flag::FlagChange::Remove, flags: flags_of };
        inbox.change(Author::default(), change).await.unwrap();
        let written = writer.batch(vec![item("INBOX", "4", &["a", "e", "f"])]).await.unwrap();
        assert_eq!(written.lost_keywords, [(0, vec!["f".to_owned()])]);
    });
}

#[test]
fn a_full_disk_ends_it_and_it_can_go_on() {
    simulate(async {
        // The first commit makes the account.
        let core = core(FaultJournal::new(MemoryJournal::new(), 2, AppendFault::Full), Limits::default());
        let batch = || vec![item("INBOX", "1", &[]), item("INBOX", "2", &[])];
        let failure = Writer::begin(&core, ACCOUNT).batch(batch()).await.unwrap_err();
        assert_eq!(failure, Failure::new(Exit::TryAgain, "the disk is full"));
        let mut writer = Writer::begin(&core, ACCOUNT);
        assert_eq!(writer.batch(batch()).await.unwrap().imported, 2);
        assert_eq!(flags(&mut writer, "INBOX").await.len(), 2);
    });
}
