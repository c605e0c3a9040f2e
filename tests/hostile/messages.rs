//! Messages that cost more than they should.

use super::{in_time, under_attack, with_message};

/// Everything that reads a message's structure.
const LOOKS: [&str; 7] = [
    "FETCH 1 (ENVELOPE BODYSTRUCTURE)",
    "FETCH 1 (BODY BODY.PEEK[1] BODY.PEEK[1.1.1.1] BODY.PEEK[HEADER.FIELDS (TO)] RFC822.SIZE)",
    "FETCH 1 BINARY.SIZE[1]",
    "SEARCH TEXT nothing BODY nothing",
    "SORT (SUBJECT FROM TO DATE) UTF-8 ALL",
    "THREAD REFERENCES UTF-8 ALL",
    "THREAD ORDEREDSUBJECT UTF-8 ALL",
];

fn bomb(user: &str, message: &[u8]) {
    under_attack(|server| {
        let mut wire = with_message(&server.target, user, message);
        for look in LOOKS {
            in_time(&mut wire, look);
        }
    });
}

#[test]
fn multiparts_in_multiparts() {
    let mut message = String::from("MIME-Version: 1.0\r\n");
    for level in 0..10_000 {
        message.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n"));
    }
    bomb("nested", message.as_bytes());
}

#[test]
fn messages_in_messages() {
    bomb("messages", "Content-Type: message/rfc822\r\n\r\n".repeat(10_000).as_bytes());
}

#[test]
fn one_boundary_for_all_levels() {
    let mut message = String::new();
    for _ in 0..2_000 {
        message.push_str("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n");
    }
    message.push_str(&"--b--\r\n".repeat(2_000));
    bomb("boundary", message.as_bytes());
}

#[test]
fn very_many_parts() {
    let mut message = String::from("Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    message.push_str(&"--b\r\n\r\nx\r\n".repeat(100_000));
    bomb("parts", message.as_bytes());
}

#[test]
fn very_many_addresses() {
    let addresses = "a@b.example, ".repeat(100_000);
    bomb("addresses", format!("To: {addresses}c@d\r\nSubject: x\r\n\r\n").as_bytes());
}

#[test]
fn very_many_fields() {
    bomb("fields", format!("{}Subject: x\r\n\r\n", "To: a@b.example\r\n".repeat(100_000)).as_bytes());
}

#[test]
fn comments_and_quotes_without_end() {
    let comments =
        format!("To: {}a@b{}\r\nFrom: \"{}\r\nCc: (\\\r\n\r\n", "(".repeat(100_000), ")".repeat(100_000), "\\\"".repeat(50_000));
    bomb("comments", comments.as_bytes());
}

#[test]
fn parameters_in_pieces() {
    let mut message = String::from("Content-Type: text/plain");
    for piece in (0..20_000).rev() {
        message.push_str(&format!(";\r\n name*{piece}*=%41"));
    }
    message.push_str("\r\n\r\n");
    bomb("parameters", message.as_bytes());
}

#[test]
fn very_many_references() {
    let mut references = String::from("References:");
    for number in 0..20_000 {
        references.push_str(&format!("\r\n <r{number}@x>"));
    }
    bomb("references", format!("{references}\r\nMessage-ID: <me@x>\r\nSubject: x\r\n\r\n").as_bytes());
}

#[test]
fn subjects_that_never_end() {
    let subject = format!("Subject: {}{}{}x\r\n\r\n", "Re: ".repeat(20_000), "[x] ".repeat(20_000), "(fwd) ".repeat(20_000));
    bomb("subject", subject.as_bytes());
    let encoded = format!("Subject: {}\r\n\r\n", "=?UTF-8?Q?a?= ".repeat(50_000));
    bomb("encoded", encoded.as_bytes());
}

#[test]
fn bytes_of_every_kind() {
    let mut message = b"Subject: \xff\xfe\xc3\x28\r\nFrom: \xf0\x9f\r\nContent-Type: text/plain; charset=\xff\r\n\r\n".to_vec();
    for byte in 1..=255_u8 {
        message.extend([byte; 64]);
    }
    bomb("bytes", &message);
    bomb("only-newlines", &b"\n".repeat(200_000));
    bomb("only-returns", &b"\r".repeat(200_000));
    bomb("only-colons", &b":".repeat(200_000));
    bomb("one-header", &[&b"Subject: "[..], &b"x".repeat(1_000_000)].concat());
}

#[test]
fn base64_and_quoted_printable_that_are_none() {
    let message =
        format!("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n{}", "!!!!====AAAA====\r\n".repeat(20_000));
    bomb("base64", message.as_bytes());
    let message = format!(
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
        "=ZZ==\t=\r\n=".repeat(20_000)
    );
    bomb("printable", message.as_bytes());
}

#[test]
fn very_many_messages_in_one_thread() {
    under_attack(|server| {
        let mut wire = with_message(&server.target, "threads", b"Message-ID: <m0@x>\r\n\r\n");
        let mut command = b"a APPEND INBOX".to_vec();
        for number in 1..900 {
            let message = format!(
                "Message-ID: <m{number}@x>\r\nReferences: <m{}@x> <m{}@x>\r\nSubject: Re: x\r\n\r\n",
                number - 1,
                (number * 7) % 900
            );
            command.extend(format!(" {{{}+}}\r\n{message}", message.len()).bytes());
        }
        command.extend(b"\r\n");
        wire.send(&command).unwrap();
        wire.until("a").unwrap();
        for look in LOOKS {
            in_time(&mut wire, look);
        }
    });
}

/// What crashed others: groups, addresses that are none, comments that end in a backslash, text that is cut off within a character, headers that are none.
#[test]
fn odd_headers() {
    let fields: [&[u8]; 14] = [
        b"To: group:;",
        b"To: group: a@b, group2: c@d;;",
        b"From: :;",
        b"From: <>",
        b"From: @",
        b"From: a@b (comment\\",
        b"From: (\\",
        b"Sender: \"\\",
        b"Subject: =?UTF-8?Q?=E2=82?=",
        b"Subject: \xe2\x82",
        b"Subject: =?utf-8?B?4oI=?= =?\xff?Q?x?= =?utf-8?Q?",
        b"Date: Mon, 99 Foo 99999999999 99:99:99 +99999999",
        b"Message-ID: <<<<>>>>",
        b"Content-Type: multipart/mixed; boundary=\"\\",
    ];
    under_attack(|server| {
        let mut all = Vec::new();
        for (number, field) in fields.iter().enumerate() {
            let message = [field, b"\r\n\r\nbody \xe2\x82".as_slice()].concat();
            let mut wire = with_message(&server.target, &format!("odd{number}"), &message);
            for look in LOOKS {
                let answer = in_time(&mut wire, look);
                assert!(!answer.contains("SERVERBUG"), "{look}: {answer} for {}", String::from_utf8_lossy(field));
            }
            all.extend([field, b"\r\n".as_slice()].concat());
        }
        let mut wire = with_message(&server.target, "odd", &all);
        for look in LOOKS {
            in_time(&mut wire, look);
        }
    });
}

/// Each message refers to very many of the others, in loops: what is quadratic in references takes minutes.
#[test]
fn every_message_refers_to_every_other() {
    under_attack(|server| {
        let mut wire = with_message(&server.target, "bomb", b"Message-ID: <m0@x>\r\n\r\n");
        let mut command = b"a APPEND INBOX".to_vec();
        for number in 1..300_usize {
            let references: String = (0..600).map(|other| format!("<m{}@x>\r\n ", (number * 7 + other * 13) % 600)).collect();
            let message = format!("Message-ID: <m{number}@x>\r\nReferences: {references}<m0@x>\r\nSubject: Re: x\r\n\r\n");
            command.extend(format!(" {{{}+}}\r\n{message}", message.len()).bytes());
        }
        command.extend(b"\r\n");
        wire.send(&command).unwrap();
        wire.until("a").unwrap();
        for look in LOOKS {
            in_time(&mut wire, look);
        }
    });
}
