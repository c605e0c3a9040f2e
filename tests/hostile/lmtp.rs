//! What a broken or hostile MTA can send by LMTP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use super::{resident_bytes, under_attack};
use crate::support::client::logged_in;
use crate::support::server::{Server, Target};
use crate::support::wire::PATIENCE;

/// A conversation by LMTP: sends bytes, reads replies.
pub(super) struct Conversation {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Conversation {
    pub(super) fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.target.lmtp.expect("LMTP is offered")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        let mut conversation = Self { stream, reader };
        assert!(conversation.reply().starts_with("220"));
        conversation
    }

    /// The last line of the next reply; empty when the server has closed.
    fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).is_err() || line.is_empty() {
                return String::new();
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    fn say(&mut self, line: &str) -> String {
        self.say_bytes(format!("{line}\r\n").as_bytes())
    }

    /// The same for bytes that may be no text, with their end.
    pub(super) fn say_bytes(&mut self, line: &[u8]) -> String {
        if self.stream.write_all(line).is_err() {
            return String::new();
        }
        self.reply()
    }

    fn envelope(&mut self, recipient: &str) {
        assert!(self.say("LHLO x").starts_with("250"));
        assert!(self.say("MAIL FROM:<a@example.org>").starts_with("250"));
        assert!(self.say(&format!("RCPT TO:<{recipient}>")).starts_with("250"));
    }
}

fn count(target: &Target, user: &str) -> u32 {
    let mut wire = logged_in(target.imap, user);
    let replies = wire.command("a", "STATUS INBOX (MESSAGES)").unwrap();
    let number = replies[0].rsplit("MESSAGES ").next().unwrap().trim_end_matches(')');
    number.parse().unwrap()
}

#[test]
fn greetings_of_smtp_are_refused() {
    under_attack(|server| {
        for hello in ["HELO x", "EHLO x"] {
            let reply = Conversation::open(server).say(hello);
            assert!(reply.starts_with("500 5."), "{hello}: {reply}");
        }
    });
}

#[test]
fn odd_recipients() {
    under_attack(|server| {
        let mut conversation = Conversation::open(server);
        conversation.say("LHLO x");
        conversation.say("MAIL FROM:<>");
        for recipient in [
            "<\"\"@x>",
            "<@>",
            "<>",
            "<\"",
            "<a@b",
            "a b",
            "<\"a\\\"b\"@x>",
            "<a+../../x@y>",
            "<+@y>",
            "<a@b>SIZE=1",
            "<%s%n@x>",
            "<a\0b@x>",
            "<\u{e4}@x>",
            "",
            "<@a,@b:c@d>",
        ] {
            let reply = conversation.say(&format!("RCPT TO:{recipient}"));
            assert!(reply.len() > 3, "no reply to RCPT TO:{recipient}");
        }
        assert!(conversation.say("NOOP").starts_with("250"));
    });
}

#[test]
fn lines_without_end() {
    under_attack(|server| {
        let before = server.resident_bytes();
        for start in ["", "LHLO ", "MAIL FROM:<", "RCPT TO:<"] {
            let mut conversation = Conversation::open(server);
            let _ = conversation.stream.write_all(start.as_bytes());
            let chunk = vec![b'x'; 64 << 10];
            let _ = (0..200).take_while(|_| conversation.stream.write_all(&chunk).is_ok()).count();
        }
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes");
    });
}

#[test]
fn smuggled_ends_of_data() {
    under_attack(|server| {
        for (number, end) in ["\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\n.\r"].into_iter().enumerate() {
            let user = format!("smuggle{number}");
            let mut conversation = Conversation::open(server);
            conversation.envelope(&user);
            assert!(conversation.say("DATA").starts_with("354"));
            let body = format!(
                "Subject: outer\r\n\r\nx{end}MAIL FROM:<evil@example.org>\r\nRCPT TO:<{user}>\r\nDATA\r\nSubject: inner\r\n\r\n\r\n.\r\n"
            );
            conversation.stream.write_all(body.as_bytes()).unwrap();
            assert!(conversation.reply().starts_with("250"), "{end:?}");
            assert!(conversation.say("QUIT").starts_with("221"), "{end:?}: more replies than messages");
            assert_eq!(count(&server.target, &user), 1, "{end:?} smuggled a second message");
        }
    });
}

#[test]
fn a_delivery_that_breaks_off_delivers_nothing() {
    under_attack(|server| {
        for body in
            ["", "Subject: x\r\n", "Subject: x\r\n\r\nbody\r\n", "Subject: x\r\n\r\nbody\r\n.", "Subject: x\r\n\r\nbody\r\n.\r"]
        {
            let mut conversation = Conversation::open(server);
            conversation.envelope("halfway");
            assert!(conversation.say("DATA").starts_with("354"));
            conversation.stream.write_all(body.as_bytes()).unwrap();
        }
        let mut conversation = Conversation::open(server);
        conversation.envelope("halfway");
        conversation.stream.write_all(b"BDAT 1000 LAST\r\nSubject: x\r\n").unwrap();
        drop(conversation);
        assert_eq!(count(&server.target, "halfway"), 0);
    });
}

#[test]
fn a_message_that_is_too_big_is_refused_while_it_comes() {
    under_attack(|server| {
        let before = server.resident_bytes();
        let mut conversation = Conversation::open(server);
        conversation.say("LHLO x");
        let declared = conversation.say("MAIL FROM:<a@example.org> SIZE=99999999999");
        assert!(declared.starts_with("552"), "{declared}");
        conversation.say("MAIL FROM:<a@example.org>");
        conversation.say("RCPT TO:<big>");
        let announced = conversation.say("BDAT 99999999999999999999 LAST");
        assert!(announced.starts_with('5'), "{announced}");
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes");
    });
}

#[test]
fn very_many_recipients() {
    under_attack(|server| {
        let mut conversation = Conversation::open(server);
        conversation.say("LHLO x");
        conversation.say("MAIL FROM:<a@example.org>");
        let taken =
            (0..2000).take_while(|number| conversation.say(&format!("RCPT TO:<many{number}>")).starts_with("250")).count();
        assert!((100..2000).contains(&taken), "{taken} recipients in one delivery");
        assert!(conversation.say("RSET").starts_with("250"));
    });
}

#[test]
fn http_by_lmtp() {
    under_attack(|server| {
        let mut conversation = Conversation::open(server);
        let body = "POST / HTTP/1.1\r\nHost: x\r\n\r\nLHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<http>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n";
        conversation.stream.write_all(body.as_bytes()).unwrap();
        while !conversation.reply().is_empty() {}
        assert_eq!(count(&server.target, "http"), 0, "an HTTP request delivered mail");
    });
}

/// What the server writes in front of a message comes from what it parsed: no peer adds a field of its own.
#[test]
fn nothing_of_the_envelope_becomes_a_field() {
    under_attack(|server| {
        let mut taken = 0;
        for evil in [
            "x\rX-Evil: 1",
            "x\nX-Evil: 1",
            "x\u{85}X-Evil: 1",
            "x\u{2028}X-Evil: 1",
            "x\\\r\\\nX-Evil: 1",
            "x\0X-Evil: 1",
            "x) X-Evil: 1 (y",
        ] {
            let mut conversation = Conversation::open(server);
            if !conversation.say(&format!("LHLO {evil}")).starts_with("250") {
                conversation = Conversation::open(server);
                conversation.say("LHLO x");
            }
            if !conversation.say(&format!("MAIL FROM:<\"{evil}\"@example.org> SMTPUTF8")).starts_with("250") {
                conversation = Conversation::open(server);
                conversation.say("LHLO x");
                conversation.say("MAIL FROM:<a@example.org> SMTPUTF8");
            }
            if !conversation.say(&format!("RCPT TO:<\"fields+{evil}\">")).starts_with("250") {
                conversation = Conversation::open(server);
                conversation.envelope("fields");
            }
            assert!(conversation.say("DATA").starts_with("354"), "{evil:?}");
            assert!(conversation.say("Subject: x\r\n\r\nbody\r\n.").starts_with("250"), "{evil:?}");
            taken += 1;
        }
        let mut wire = logged_in(server.target.imap, "fields");
        wire.command("s", "SELECT INBOX").unwrap();
        let headers = wire.command("f", "FETCH 1:* (BODY.PEEK[HEADER] BODY.PEEK[HEADER.FIELDS (X-EVIL)])").unwrap();
        assert_eq!(headers.len(), taken + 1);
        for header in &headers[..taken] {
            let is_raw = header.lines().any(|line| line.trim_start().starts_with("X-Evil"));
            assert!(!is_raw && !header.replace("\r\n", "").contains(['\r', '\n', '\0', '\u{85}']), "{header:?}");
        }
    });
}
