//! How each command goes, for people who type: what an error says beside the place and what was expected there.

use std::fmt;

use super::VERBS;

/// What helps somebody who typed a command that cannot be read. It never repeats what the client sent, but for names of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The command is known, its arguments are not right.
    Usage(&'static str),
    /// The first word is a command's name: the tag in front was forgotten.
    TagFirst(&'static str),
    /// The second word is no command.
    Commands,
}

impl Hint {
    /// For a frame whose tag is `tag` and whose command is `verb`, as far as they could be read.
    pub(crate) fn of(tag: Option<&str>, verb: Option<&'static str>) -> Option<Self> {
        if let Some(verb) = verb {
            return Some(Self::Usage(usage(verb)));
        }
        let tag = tag?;
        let forgotten = VERBS.into_iter().find(|verb| verb.eq_ignore_ascii_case(tag));
        Some(forgotten.map_or(Self::Commands, |verb| Self::TagFirst(usage(verb))))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(usage) => write!(formatter, "it goes: {usage}"),
            Self::TagFirst(usage) => write!(formatter, "a tag comes first: a1 {usage}"),
            Self::Commands => formatter.write_str("such as: a1 LOGIN, a2 LIST, a3 SELECT, a4 FETCH, a5 SEARCH, a6 LOGOUT"),
        }
    }
}

/// A command with its arguments: what is in capitals behind its name stands for something, what is in brackets may be left out.
fn usage_of_arguments(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "ID" => "ID NIL, or ID (\"name\" \"value\")",
        "AUTHENTICATE" => "AUTHENTICATE PLAIN",
        "LOGIN" => "LOGIN USER PASSWORD",
        "ENABLE" => "ENABLE CAPABILITY",
        "SELECT" => "SELECT MAILBOX",
        "EXAMINE" => "EXAMINE MAILBOX",
        "CREATE" => "CREATE MAILBOX",
        "DELETE" => "DELETE MAILBOX",
        "RENAME" => "RENAME OLD NEW",
        "SUBSCRIBE" => "SUBSCRIBE MAILBOX",
        "UNSUBSCRIBE" => "UNSUBSCRIBE MAILBOX",
        "LIST" => "LIST \"\" *",
        "LSUB" => "LSUB \"\" *",
        "RLIST" => "RLIST \"\" *",
        "RLSUB" => "RLSUB \"\" *",
        "SCAN" => "SCAN \"\" * TEXT",
        "STATUS" => "STATUS MAILBOX (MESSAGES UNSEEN UIDNEXT)",
        "APPEND" => "APPEND MAILBOX [(FLAGS)] [\"DATE\"] {SIZE}, then the message",
        "UID EXPUNGE" => "UID EXPUNGE SET",
        "SEARCH" => "SEARCH KEYS, such as SEARCH UNSEEN FROM \"you\"",
        "UID SEARCH" => "UID SEARCH KEYS, such as UID SEARCH UNSEEN FROM \"you\"",
        "SORT" => "SORT (DATE) UTF-8 ALL",
        "UID SORT" => "UID SORT (DATE) UTF-8 ALL",
        "THREAD" => "THREAD REFERENCES UTF-8 ALL",
        "UID THREAD" => "UID THREAD REFERENCES UTF-8 ALL",
        "FETCH" => "FETCH SET (ITEMS), such as FETCH 1:* (UID FLAGS)",
        "UID FETCH" => "UID FETCH SET (ITEMS), such as UID FETCH 1:* (FLAGS)",
        "STORE" => "STORE SET +FLAGS (FLAGS), such as STORE 1 +FLAGS (\\Seen)",
        "UID STORE" => "UID STORE SET +FLAGS (FLAGS), such as UID STORE 1 +FLAGS (\\Seen)",
        "COPY" => "COPY SET MAILBOX",
        "UID COPY" => "UID COPY SET MAILBOX",
        "MOVE" => "MOVE SET MAILBOX",
        "UID MOVE" => "UID MOVE SET MAILBOX",
        _ => return None,
    })
}

/// How the command goes; without arguments by its name alone.
fn usage(verb: &'static str) -> &'static str {
    usage_of_arguments(verb).unwrap_or(verb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Frame;
    use crate::grammar::parse;
    use crate::mailbox_name::NameFormat;

    fn said(text: &str) -> String {
        let frame = Frame { text: text.as_bytes().to_vec(), ..Frame::default() };
        parse(&frame, NameFormat::default()).unwrap_err().to_string()
    }

    #[test]
    fn people_are_told_how_a_command_goes() {
        assert_eq!(said("a select"), "expected a space at character 9; it goes: SELECT MAILBOX");
        assert_eq!(said("a noop noop"), "expected the end of the command at character 7; it goes: NOOP");
        assert_eq!(said("login alice secret"), "expected a command at character 7; a tag comes first: a1 LOGIN USER PASSWORD");
        assert!(said("a help").starts_with("expected a command at character 3; such as: a1 LOGIN"));
        assert!(said("help").starts_with("expected a space at character 5; such as: a1 LOGIN"));
        assert_eq!(said("* x"), "expected a tag: letters or digits in front of every command at character 1");
    }

    #[test]
    fn nothing_that_was_sent_is_repeated() {
        for text in ["hunter2", "a hunter2 b", "a LOGIN alice \"hunter2", "a LOGIN alice hunter2 hunter2"] {
            assert!(!said(text).contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn every_command_begins_with_its_name() {
        for verb in VERBS {
            assert!(usage(verb).starts_with(verb) && usage(verb).is_ascii(), "{verb}");
        }
    }
}
