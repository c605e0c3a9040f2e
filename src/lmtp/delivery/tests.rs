//! Deliveries through real actors over a journal in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use carillon_actors::account::requests::Change as AccountChange;
use carillon_actors::clock::Clock;
use carillon_actors::id::Ids;
use carillon_actors::limits::Limits;
use carillon_actors::placement::Placement;
use carillon_actors::session::auth::Verdict;
use carillon_storage::fault::{AppendFault, FaultJournal};
use carillon_storage::{Journal, MemoryJournal};

use super::*;
use crate::lmtp::command::{Command, Mail, parse};

/// Users without passwords.
struct People(BTreeMap<&'static str, AccountId>);

impl Authenticator for People {
    fn verify(&self, _: &str, _: &[u8]) -> Verdict {
        Verdict::Refused
    }

    fn find(&self, user: &str) -> Option<AccountId> {
        self.0.get(user).copied()
    }
}

const NOW: u64 = 1_768_212_000;

/// Alice has a folder Work/2024 besides what all have.
async fn postman(journal: Arc<dyn Journal>, domains: &[&str]) -> Postman {
    postman_at(journal, Placement::one_thread(), domains).await
}

async fn postman_at(journal: Arc<dyn Journal>, placement: Placement, domains: &[&str]) -> Postman {
    let clock = Clock::new(|| NOW * 1_000_000);
    let core = Core::start(journal, placement, clock, Ids::new(NOW, 1), Limits::default());
    let people = BTreeMap::from([("alice", AccountId(1)), ("bob@b.example", AccountId(2))]);
    let alice = core.directory.account(AccountId(1)).await.unwrap();
    let mailbox = MailboxName::from_segments(["Work", "2024"]).unwrap();
    alice.change(Author::default(), AccountChange::Create { mailbox, special_use: Vec::new() }).await.unwrap();
    let office = PostOffice {
        core,
        authenticator: Arc::new(People(people)),
        hostname: "mx.example".to_owned(),
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        separator: '/',
    };
    Postman::new(office, "[192.0.2.1]".to_owned())
}

fn address(text: &str) -> Address {
    match parse(format!("RCPT TO:<{text}>").as_bytes()) {
        Ok(Command::Rcpt(address)) => address,
        other => panic!("{other:?}"),
    }
}

async fn deliver(postman: &Postman, to: &[&str], body: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for text in to {
        let address = address(text);
        targets.push((address.clone(), postman.recipient(&address).await.unwrap()));
    }
    let mail = Mail { sender: Some(address("\"the boss\"@x")), ..Mail::default() };
    let envelope = Envelope { hello: "mta.example".to_owned(), mail };
    let replies = postman.deliver(&envelope, Bytes::Memory(body.as_bytes().to_vec()), &targets).await;
    replies.iter().map(|reply| reply.to_string()[..9].to_owned()).collect()
}

async fn open(postman: &Postman, account: u64, name: &str) -> MailboxHandle {
    let account = postman.office.core.directory.account(AccountId(account)).await.unwrap();
    let name = MailboxName::from_segments(name.split('/')).unwrap();
    let id = account.peek().await.unwrap().find(&name).unwrap().mailbox;
    account.open(id).await.unwrap()
}

/// The messages of a mailbox, whole.
async fn messages(postman: &Postman, account: u64, name: &str) -> Vec<String> {
    let core = &postman.office.core;
    let look = open(postman, account, name).await.peek().await.unwrap();
    let whole = |details: &carillon_actors::mailbox::event::Details| {
        let body = core.journal.store().body(details.body).unwrap();
        let bytes = [details.prefix.as_deref().unwrap_or_default(), &body].concat();
        assert_eq!(details.size, bytes.len() as u64);
        String::from_utf8(bytes).unwrap()
    };
    look.snapshot.messages().iter().map(|message| whole(message.details)).collect()
}

#[test]
fn each_recipient_gets_its_fields_and_all_share_the_body() {
    actix::System::new().block_on(async {
    let postman = postman(Arc::new(MemoryJournal::new()), &[]).await;
    let to = ["alice@a.example", "bob@b.example", "alice+work/2024@x", "alice+None@x"];
    assert_eq!(deliver(&postman, &to, "Subject: x\r\n\r\ny\r\n").await, ["250 2.1.5"; 4]);
    let bob = messages(&postman, 2, "INBOX").await;
    let session = format!("{:016x}", postman.author.borrow().session);
    assert_eq!(
        bob,
        [format!(
            "Return-Path: <\"the boss\"@x>\r\nDelivered-To: bob@b.example\r\nReceived: from mta.example ([192.0.2.1])\r\n\tby mx.example with LMTP id \
             {session}.2\r\n\tfor <bob@b.example>; Mon, 12 Jan 2026 10:00:00 +0000\r\nSubject: x\r\n\r\ny\r\n"
        )]
    );
    assert_eq!(messages(&postman, 1, "Work/2024").await.len(), 1);
    let inbox = messages(&postman, 1, "INBOX").await;
    assert!(inbox.len() == 2 && inbox.iter().any(|message| message.contains("Delivered-To: alice+None@x\r\n")));
    });
}

#[test]
fn a_large_message_comes_to_all_from_its_file() {
    actix::System::new().block_on(async {
        let journal = Arc::new(MemoryJournal::new());
        let postman = postman(Arc::clone(&journal) as Arc<dyn Journal>, &[]).await;
        for size in [1_500_000, 5_000_000] {
            let file = journal.spool().unwrap();
            file.write(format!("Subject: {size}\r\n\r\n{}\r\n", "x".repeat(size)).as_bytes()).unwrap();
            let path = file.path().to_path_buf();
            let targets: Vec<_> =
                [1, 2].map(|account| (address("a@x"), Target { account: AccountId(account), folder: None })).into();
            let envelope = Envelope { hello: "x".to_owned(), mail: Mail::default() };
            let replies = postman.deliver(&envelope, Bytes::File(file), &targets).await;
            assert!(replies.len() == 2 && replies.iter().all(Reply::is_success) && !path.exists(), "{replies:?}");
        }
        for account in [1, 2] {
            let sizes: Vec<usize> =
                messages(&postman, account, "INBOX").await.iter().map(|message| message.len() / 100_000).collect();
            assert_eq!(sizes, [15, 50]);
        }
    });
}

#[test]
fn who_is_not_here_is_refused() {
    actix::System::new().block_on(async {
        let postman = postman(Arc::new(MemoryJournal::new()), &["b.example"]).await;
        let code = async |text: &str| match postman.recipient(&address(text)).await {
            Ok(target) => format!("{} {}", target.account.0, target.folder.unwrap_or_default()),
            Err(reply) => reply.to_string()[..9].to_owned(),
        };
        assert_eq!(code("carol@b.example").await, "550 5.1.1");
        assert_eq!(code("alice@a.example").await, "550 5.1.2");
        assert_eq!(code("bob@B.EXAMPLE").await, "550 5.1.1");
        assert_eq!(code("bob+x+y@b.example").await, "2 x+y");
        assert_eq!(code("alice").await, "1 ");
    });
}

#[test]
fn a_full_disk_is_for_now_and_the_next_delivery_succeeds() {
    actix::System::new().block_on(async {
        // Three commits make the accounts and the folder.
        let journal = Arc::new(FaultJournal::new(MemoryJournal::new(), 4, AppendFault::Full));
        let postman = postman(journal, &[]).await;
        postman.office.core.directory.account(AccountId(2)).await.unwrap();
        assert_eq!(deliver(&postman, &["alice"], "a: b\r\n\r\n").await, ["452 4.3.1"]);
        assert_eq!(deliver(&postman, &["alice"], "a: b\r\n\r\n").await, ["250 2.1.5"]);
        assert_eq!(messages(&postman, 1, "INBOX").await.len(), 1);
    });
}

#[test]
fn a_delivery_whose_mailbox_dies_is_made_once_and_into_its_folder() {
    const PACE: Duration = Duration::from_millis(5);
    let system = actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(async {
        let journal = Arc::new(MemoryJournal::new());
        let postman = postman_at(journal, Placement::one_thread_paced(|| PACE), &[]).await;
        for delay in 0..30 {
            let folder = open(&postman, 1, "Work/2024").await;
            let body = format!("Subject: {delay}\r\n\r\n");
            let (replies, ()) = tokio::join!(deliver(&postman, &["alice+Work/2024"], &body), async {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                folder.panic();
            });
            assert_eq!(replies, ["250 2.1.5"], "{delay} ms");
            assert_eq!(messages(&postman, 1, "Work/2024").await.len() as u64, delay + 1, "{delay} ms");
            // Three deaths in a minute would be too many.
            tokio::time::sleep(Duration::from_secs(90)).await;
        }
        assert!(messages(&postman, 1, "INBOX").await.is_empty());
    });
}

#[test]
fn sub_addresses() {
    let users = |text: &str| {
        let one = |(user, folder): (String, Option<String>)| format!("{user}>{}", folder.unwrap_or_default());
        candidates(&address(text)).into_iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(users("alice@x.example"), ["alice@x.example>", "alice>"]);
    let folders = ["alice+Lists/a+b@x>", "alice+Lists/a+b>", "alice@x>Lists/a+b", "alice>Lists/a+b"];
    assert_eq!(users("alice+Lists/a+b@x"), folders);
    assert_eq!(users("+a"), ["+a>"]);
}
