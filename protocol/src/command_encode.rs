//! Commands as text: for the test client and for round trips. [`parse`](crate::grammar::parse) gives every command back.

mod search;
#[cfg(test)]
mod tests;

use crate::command::{
    AppendMessage, Command, FetchItem, Partial, Section, SectionText, SortCriterion, SortKey, TaggedCommand, ThreadAlgorithm,
};
use crate::encode::{special_use_name, status_item_name};
use crate::flag::{FlagChange, FlagSet};
use crate::mailbox_name::{MailboxName, NameFormat, encode_text};
use crate::set::{Numbering, SequenceSet, SetItem, SetNumber};
use crate::text::encode_base64;

/// A piece of a command on its way out: between two pieces a client may have to wait for `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it is.
    Text(Vec<u8>),
    /// A literal, without its announcement.
    Literal(Vec<u8>),
    /// A message of APPEND, without its announcement.
    Message {
        /// Its place among the messages of the command, from 0.
        index: usize,
        /// A literal8.
        binary: bool,
    },
}

/// Encodes a command with its final CRLF.
pub fn encode_command(tagged: &TaggedCommand, format: NameFormat) -> Vec<Piece> {
    let mut out = Out { pieces: Vec::new(), text: Vec::new(), format };
    out.put(tagged.tag.as_str());
    out.put(" ");
    out.command(&tagged.command);
    out.put("\r\n");
    out.flush();
    out.pieces
}

/// The bytes of a command, its literals as LITERAL+ (RFC 7888), so that nothing has to be waited for. A message that is missing in
/// `messages` is sent empty.
pub fn command_bytes<M: AsRef<[u8]>>(pieces: &[Piece], messages: &[M]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let (tilde, literal) = match piece {
            Piece::Text(text) => {
                bytes.extend_from_slice(text);
                continue;
            }
            Piece::Literal(literal) => ("", literal.as_slice()),
            Piece::Message { index, binary } => {
                (if *binary { "~" } else { "" }, messages.get(*index).map(AsRef::as_ref).unwrap_or_default())
            }
        };
        bytes.extend_from_slice(format!("{tilde}{{{}+}}\r\n", literal.len()).as_bytes());
        bytes.extend_from_slice(literal);
    }
    bytes
}

/// What was encoded so far.
struct Out {
    pieces: Vec<Piece>,
    text: Vec<u8>,
    format: NameFormat,
}

impl Out {
    fn put(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.text)));
        }
    }

    fn literal(&mut self, piece: Piece) {
        self.flush();
        self.pieces.push(piece);
    }

    /// Items with a space between each two.
    fn spaced<T>(&mut self, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Self, T)) {
        for (index, one) in items.into_iter().enumerate() {
            if index > 0 {
                self.put(" ");
            }
            item(self, one);
        }
    }

    fn parenthesised<T>(&mut self, items: impl IntoIterator<Item = T>, item: impl FnMut(&mut Self, T)) {
        self.put("(");
        self.spaced(items, item);
        self.put(")");
    }

    /// `string`: quoted where it can be, else a literal.
    fn string(&mut self, bytes: &[u8]) {
        let is_plain = |byte: &u8| matches!(byte, 1..=127) && !b"\r\n".contains(byte);
        let is_plain_utf8 = || bytes.iter().all(|byte| *byte > 127 || is_plain(byte)) && std::str::from_utf8(bytes).is_ok();
        if !(bytes.iter().all(is_plain) || (self.format.utf8 && is_plain_utf8())) {
            return self.literal(Piece::Literal(bytes.to_vec()));
        }
        self.put("\"");
        for byte in bytes {
            if matches!(byte, b'"' | b'\\') {
                self.put("\\");
            }
            self.text.push(*byte);
        }
        self.put("\"");
    }

    /// `astring`
    fn astring(&mut self, bytes: &[u8]) {
        let is_astring_char = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\".contains(byte);
        if !bytes.is_empty() && bytes.iter().all(is_astring_char) {
            self.text.extend_from_slice(bytes);
        } else {
            self.string(bytes);
        }
    }

    fn mailbox(&mut self, name: &MailboxName) {
        self.put(" ");
        self.astring(name.to_wire(self.format).as_bytes());
    }

    /// Reference or pattern of LIST.
    fn pattern(&mut self, text: &str) {
        self.put(" ");
        self.string(encode_text(text, self.format).as_bytes());
    }

    fn set(&mut self, set: &SequenceSet) {
        let SequenceSet::Items(items) = set else { return self.put("$") };
        let number = |number: SetNumber| match number {
            SetNumber::Number(number) => number.to_string(),
            SetNumber::Star => "*".to_owned(),
        };
        let item = |item: &SetItem| match *item {
            SetItem::One(only) => number(only),
            SetItem::Range(first, last) => format!("{}:{}", number(first), number(last)),
        };
        self.put(&items.iter().map(item).collect::<Vec<_>>().join(","));
    }

    fn flags(&mut self, flags: &FlagSet) {
        self.parenthesised(flags.iter(), |out, flag| out.put(&flag.to_string()));
    }

    fn command(&mut self, command: &Command) {
        self.put(command.name());
        match command {
            Command::Capability
            | Command::Noop
            | Command::Logout
            | Command::StartTls
            | Command::Namespace
            | Command::Idle
            | Command::Check
            | Command::Close
            | Command::Unselect
            | Command::Expunge => {}
            Command::Id(fields) => self.id(fields.as_deref()),
            Command::Authenticate { mechanism, initial } => {
                self.put(&format!(" {mechanism}"));
                match initial.as_ref().map(|initial| initial.expose().as_slice()) {
                    None => {}
                    Some([]) => self.put(" ="),
                    Some(initial) => self.put(&format!(" {}", encode_base64(initial))),
                }
            }
            Command::Login { user, password } => {
                self.put(" ");
                self.spaced([user.as_bytes(), password.expose()], Self::astring);
            }
            Command::Enable(capabilities) => self.put(&format!(" {}", capabilities.join(" "))),
            Command::Select(mailbox)
            | Command::Examine(mailbox)
            | Command::Delete(mailbox)
            | Command::Subscribe(mailbox)
            | Command::Unsubscribe(mailbox) => self.mailbox(mailbox),
            Command::Rename { from, to } => {
                self.mailbox(from);
                self.mailbox(to);
            }
            Command::Create { .. }
            | Command::List { .. }
            | Command::Scan { .. }
            | Command::Status { .. }
            | Command::Append { .. } => {
                self.mailbox_command(command);
            }
            _ => self.message_command(command),
        }
    }

    fn id(&mut self, fields: Option<&[(String, Option<String>)]>) {
        self.put(" ");
        let Some(fields) = fields else { return self.put("NIL") };
        self.parenthesised(fields, |out, (name, value)| {
            out.string(name.as_bytes());
            out.put(" ");
            match value {
                Some(value) => out.string(value.as_bytes()),
                None => out.put("NIL"),
            }
        });
    }

    fn mailbox_command(&mut self, command: &Command) {
        match command {
            Command::Create { mailbox, special_use } => {
                self.mailbox(mailbox);
                if !special_use.is_empty() {
                    self.put(" (USE ");
                    self.parenthesised(special_use, |out, special_use| out.put(special_use_name(*special_use)));
                    self.put(")");
                }
            }
            Command::List { reference, pattern, .. } => {
                self.pattern(reference);
                self.pattern(pattern);
            }
            Command::Scan { reference, pattern, text } => {
                self.pattern(reference);
                self.pattern(pattern);
                self.put(" ");
                self.astring(text.as_bytes());
            }
            Command::Status { mailbox, items } => {
                self.mailbox(mailbox);
                self.put(" ");
                self.parenthesised(items, |out, item| out.put(status_item_name(*item)));
            }
            Command::Append { mailbox, messages } => {
                self.mailbox(mailbox);
                messages.iter().for_each(|message| self.append_message(message));
            }
            _ => {}
        }
    }

    fn append_message(&mut self, message: &AppendMessage) {
        self.put(" ");
        if !message.flags.is_empty() {
            self.flags(&message.flags);
            self.put(" ");
        }
        if let Some(date) = message.date {
            self.put(&format!("\"{date}\" "));
        }
        self.literal(Piece::Message { index: message.literal.index, binary: message.literal.binary });
    }

    fn message_command(&mut self, command: &Command) {
        self.put(" ");
        match command {
            Command::UidExpunge(set) => self.set(set),
            Command::Search { charset, key, .. } => {
                if let Some(charset) = charset {
                    self.put("CHARSET ");
                    self.astring(charset.as_bytes());
                    self.put(" ");
                }
                self.search_keys(key, charset.as_deref());
            }
            Command::Sort { criteria, charset, key, .. } => {
                self.parenthesised(criteria, |out, criterion| out.put(&criterion_name(*criterion)));
                self.put(" ");
                self.astring(charset.as_bytes());
                self.put(" ");
                self.search_keys(key, Some(charset));
            }
            Command::Thread { algorithm, charset, key, .. } => {
                self.put(match algorithm {
                    ThreadAlgorithm::OrderedSubject => "ORDEREDSUBJECT ",
                    ThreadAlgorithm::References => "REFERENCES ",
                });
                self.astring(charset.as_bytes());
                self.put(" ");
                self.search_keys(key, Some(charset));
            }
            Command::Fetch { numbering, set, items } => {
                self.set(set);
                self.put(" ");
                // UID FETCH has it anyway.
                let implied =
                    usize::from(*numbering == Numbering::Uid && items.len() > 1 && items.first() == Some(&FetchItem::Uid));
                self.parenthesised(items.iter().skip(implied), Self::fetch_item);
            }
            Command::Store { set, change, silent, flags, .. } => {
                self.set(set);
                self.put(match change {
                    FlagChange::Add => " +FLAGS",
                    FlagChange::Remove => " -FLAGS",
                    FlagChange::Replace => " FLAGS",
                });
                self.put(if *silent { ".SILENT " } else { " " });
                self.flags(flags);
            }
            Command::Copy { set, mailbox, .. } | Command::Move { set, mailbox, .. } => {
                self.set(set);
                self.mailbox(mailbox);
            }
            _ => {}
        }
    }

    fn fetch_item(&mut self, item: &FetchItem) {
        match item {
            FetchItem::Uid => self.put("UID"),
            FetchItem::Flags => self.put("FLAGS"),
            FetchItem::InternalDate => self.put("INTERNALDATE"),
            FetchItem::Rfc822Size => self.put("RFC822.SIZE"),
            FetchItem::Envelope => self.put("ENVELOPE"),
            FetchItem::Body => self.put("BODY"),
            FetchItem::BodyStructure => self.put("BODYSTRUCTURE"),
            FetchItem::Rfc822 => self.put("RFC822"),
            FetchItem::Rfc822Header => self.put("RFC822.HEADER"),
            FetchItem::Rfc822Text => self.put("RFC822.TEXT"),
            FetchItem::Section { section, partial, peek } => {
                self.put(if *peek { "BODY.PEEK[" } else { "BODY[" });
                self.section(section);
                self.end_of_section(*partial);
            }
            FetchItem::Binary { part, partial, peek } => {
                self.put(if *peek { "BINARY.PEEK[" } else { "BINARY[" });
                self.put(&part_numbers(part));
                self.end_of_section(*partial);
            }
            FetchItem::BinarySize { part } => {
                self.put("BINARY.SIZE[");
                self.put(&part_numbers(part));
                self.end_of_section(None);
            }
        }
    }

    fn section(&mut self, section: &Section) {
        self.put(&part_numbers(&section.part));
        let Some(text) = &section.text else { return };
        if !section.part.is_empty() {
            self.put(".");
        }
        let (name, fields) = match text {
            SectionText::Header => ("HEADER", None),
            SectionText::HeaderFields(fields) => ("HEADER.FIELDS ", Some(fields)),
            SectionText::HeaderFieldsNot(fields) => ("HEADER.FIELDS.NOT ", Some(fields)),
            SectionText::Text => ("TEXT", None),
            SectionText::Mime => ("MIME", None),
        };
        self.put(name);
        if let Some(fields) = fields {
            self.parenthesised(fields, |out, field| out.astring(field.as_bytes()));
        }
    }

    fn end_of_section(&mut self, partial: Option<Partial>) {
        self.put("]");
        if let Some(Partial { first, count }) = partial {
            self.put(&format!("<{first}.{count}>"));
        }
    }
}

fn part_numbers(part: &[u32]) -> String {
    part.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn criterion_name(criterion: SortCriterion) -> String {
    let name = match criterion.key {
        SortKey::Arrival => "ARRIVAL",
        SortKey::Cc => "CC",
        SortKey::Date => "DATE",
        SortKey::From => "FROM",
        SortKey::Size => "SIZE",
        SortKey::Subject => "SUBJECT",
        SortKey::To => "TO",
    };
    if criterion.reverse { format!("REVERSE {name}") } else { name.to_owned() }
}
