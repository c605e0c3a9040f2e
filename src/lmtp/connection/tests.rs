//! Whole conversations with a delivery that only takes notes.

use std::cell::RefCell;
use std::sync::Arc;

use carillon_actors::placement::Placement;
use carillon_storage::MemoryJournal;

use super::*;

/// Knows alice, bob and full; full's disk is full.
#[derive(Default)]
struct Notes {
    delivered: RefCell<Vec<(String, Vec<u8>)>>,
}

impl Delivery for Notes {
    type Target = ();

    async fn recipient(&self, address: &Address) -> Result<(), Reply> {
        if ["alice", "bob", "full"].contains(&address.local.as_str()) { Ok(()) } else { Err(Reply::unknown_user()) }
    }

    async fn deliver(&self, envelope: &Envelope, bytes: Bytes, targets: &[(Address, ())]) -> Vec<Reply> {
        let bytes = match bytes {
            Bytes::Memory(bytes) => bytes,
            Bytes::File(file) => std::fs::read(file.path()).unwrap(),
        };
        let mut replies = Vec::new();
        for (address, ()) in targets {
            let sender = envelope.mail.sender.as_ref().map(Address::quoted).unwrap_or_default();
            if address.local == "full" {
                replies.push(Reply::new(452, "4.3.1", "full"));
            } else {
                self.delivered.borrow_mut().push((format!("{}:{sender}>{}", envelope.hello, address.local), bytes.clone()));
                replies.push(Reply::ok("delivered"));
            }
        }
        replies
    }
}

const LIMIT: u64 = 3 << 20;

/// Sends `input` at once, and gives the codes of all replies and what was delivered.
async fn talk(input: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let (codes, delivered, _) = talk_to_the_end(input).await;
    (codes, delivered)
}

async fn talk_to_the_end(input: &[u8]) -> (String, Vec<(String, Vec<u8>)>, Summary) {
    let notes = Notes::default();
    let (near, far) = tokio::io::duplex(4096);
    let (_stop, receiver) = watch::channel(false);
    let journal = Arc::new(MemoryJournal::new());
    let spool = Spool { journal, placement: Placement::one_thread(), message_bytes: LIMIT };
    let settings = Settings { hostname: "mx.example".to_owned(), spool, stop: receiver };
    let (mut reader, mut writer) = tokio::io::split(near);
    let sending = async {
        let _ = writer.write_all(input).await;
        let _ = writer.shutdown().await;
    };
    let mut output = String::new();
    let reading = async { reader.read_to_string(&mut output).await.unwrap() };
    let (summary, (), _) = tokio::join!(serve(far, settings, &notes), sending, reading);
    assert_eq!((summary.in_bytes, summary.out_bytes), (input.len() as u64, output.len() as u64));
    let codes: Vec<String> = output.split_terminator("\r\n").map(|line| line[..4].trim_end().to_owned()).collect();
    (codes.join(" "), notes.delivered.into_inner(), summary)
}

#[tokio::test]
async fn the_end_says_what_was_done_and_why_it_came() {
    let recipients = "RCPT TO:<alice@x>\r\nRCPT TO:<nobody@x>\r\nRCPT TO:<full@x>\r\nDATA\r\nhi\r\n.\r\n";
    let (_, _, summary) = talk_to_the_end(format!("{START}{recipients}QUIT\r\n").as_bytes()).await;
    assert_eq!((summary.delivered, summary.refused, summary.end.as_str()), (1, 2, "quit"));
    let (_, _, summary) = talk_to_the_end(format!("{START}{recipients}").as_bytes()).await;
    assert_eq!((summary.delivered, summary.refused, summary.end.as_str()), (1, 2, "the peer closed the connection"));
    let (_, _, summary) = talk_to_the_end(format!("{START}RCPT TO:<alice@x>\r\nDATA\r\nhalf a mess").as_bytes()).await;
    assert_eq!((summary.delivered, summary.end.as_str()), (0, "unexpected end of file"));
}

const START: &str = "LHLO mta.example\r\nMAIL FROM:<sender@x>\r\n";
const HELLO: &str = "220 250- 250- 250- 250- 250- 250- 250 250";

#[tokio::test]
async fn one_reply_for_each_recipient_that_was_taken() {
    let input = format!(
        "{START}RCPT TO:<alice@x>\r\nRCPT TO:<nobody@x>\r\nRCPT TO:<full@x>\r\nRCPT TO:<bob>\r\nDATA\r\nhi\r\n..\r\n.\r\nQUIT\r\n"
    );
    let (codes, delivered) = talk(input.as_bytes()).await;
    assert_eq!(codes, format!("{HELLO} 250 550 250 250 354 250 452 250 221"));
    let expected = ["mta.example:sender@x>alice", "mta.example:sender@x>bob"].map(|to| (to.to_owned(), b"hi\r\n.\r\n".to_vec()));
    assert_eq!(delivered, expected);
}

#[tokio::test]
async fn chunks_make_one_message() {
    let input = format!(
        "{START}RCPT TO:<alice@x>\r\nBDAT 4\r\nhi\r\nRCPT TO:<bob@x>\r\nDATA\r\nBDAT 5 LAST\r\n.\r\nabNOOP\r\nBDAT 2 LAST\r\nxyNOOP\r\n"
    );
    let (codes, delivered) = talk(input.as_bytes()).await;
    assert_eq!(codes, format!("{HELLO} 250 250 503 503 250 250 503 250"));
    assert_eq!(delivered, [("mta.example:sender@x>alice".to_owned(), b"hi\r\n.\r\nab".to_vec())]);
}

#[tokio::test]
async fn order_is_kept() {
    let input = "MAIL FROM:<a>\r\nRCPT TO:<alice>\r\nDATA\r\nEHLO x\r\nLHLO x\r\nRCPT TO:<alice>\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nDATA\r\nRSET\r\nDATA\r\nVRFY alice\r\nnonsense\r\n";
    let (codes, delivered) = talk(input.as_bytes()).await;
    assert_eq!(codes, "220 503 503 503 500 250- 250- 250- 250- 250- 250- 250 503 250 503 503 250 503 252 500");
    assert_eq!(delivered, []);
}

#[tokio::test]
async fn what_is_too_big_is_passed_over_and_the_connection_lives() {
    let body = format!("{}\r\n", "x".repeat(998)).repeat(3200);
    let input = format!(
        "{START}RCPT TO:<alice>\r\nDATA\r\n{body}.\r\nMAIL FROM:<a> SIZE=99999999\r\nMAIL FROM:<a>\r\nRCPT TO:<bob>\r\nDATA\r\nok\r\n.\r\n"
    );
    let (codes, delivered) = talk(input.as_bytes()).await;
    assert_eq!(codes, format!("{HELLO} 250 354 552 552 250 250 354 250"));
    assert_eq!(delivered.len(), 1);
}

#[tokio::test]
async fn a_large_message_comes_whole_by_a_file() {
    let body = format!("{}\r\n", "y".repeat(998)).repeat(2500);
    let (codes, delivered) = talk(format!("{START}RCPT TO:<alice>\r\nDATA\r\n{body}.\r\n").as_bytes()).await;
    assert_eq!(codes, format!("{HELLO} 250 354 250"));
    assert!(delivered[0].1 == body.as_bytes());
}

#[tokio::test]
async fn a_smuggled_message_is_part_of_the_first() {
    let evil = "a\r\n\n.\r\nMAIL FROM:<evil>\r\nRCPT TO:<bob>\r\nDATA\r\nb";
    let (codes, delivered) = talk(format!("{START}RCPT TO:<alice>\r\nDATA\r\n{evil}\r\n.\r\nQUIT\r\n").as_bytes()).await;
    assert_eq!(codes, format!("{HELLO} 250 354 250 221"));
    assert_eq!(delivered.len(), 1);
    let (codes, _) = talk(b"LHLO x\nNOOP\r\n").await;
    assert_eq!(codes, "220 500 250");
}

#[tokio::test]
async fn bounds_hold() {
    let recipients = "RCPT TO:<alice>\r\n".repeat(101);
    let (codes, _) = talk(format!("{START}{recipients}").as_bytes()).await;
    assert!(codes.ends_with("250 250 452"), "{codes}");
    let (codes, _) = talk("x\r\n".repeat(30).as_bytes()).await;
    assert_eq!(codes.split(' ').filter(|code| *code == "500").count(), 20);
    assert!(codes.ends_with("421"), "{codes}");
    let (codes, _) = talk(format!("NOOP {}\r\nNOOP\r\n", "x".repeat(100_000)).as_bytes()).await;
    assert_eq!(codes, "220 500 250");
    let (codes, delivered) = talk(format!("{START}RCPT TO:<alice>\r\nDATA\r\na\0b\r\n.\r\n").as_bytes()).await;
    assert_eq!((codes, delivered), (format!("{HELLO} 250 354 554"), vec![]));
    let (codes, _) = talk(format!("{START}RCPT TO:<alice>\r\nDATA\r\n.\r\n").as_bytes()).await;
    assert!(codes.ends_with("354 554"), "{codes}");
}

#[tokio::test(start_paused = true)]
async fn silence_and_the_servers_end_are_told() {
    for is_ending in [false, true] {
        let (mut near, far) = tokio::io::duplex(4096);
        let (stop, receiver) = watch::channel(false);
        let journal = Arc::new(MemoryJournal::new());
        let spool = Spool { journal, placement: Placement::one_thread(), message_bytes: LIMIT };
        let settings = Settings { hostname: "mx.example".to_owned(), spool, stop: receiver };
        let notes = Notes::default();
        if is_ending {
            stop.send(true).unwrap();
        }
        serve(far, settings, &notes).await;
        let mut output = String::new();
        near.read_to_string(&mut output).await.unwrap();
        let expected = if is_ending { "\r\n421 4.3.2 " } else { "\r\n421 4.4.2 " };
        assert!(output.contains(expected), "{output}");
    }
}
