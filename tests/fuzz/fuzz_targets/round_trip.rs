//! A command that was understood is understood again when it is written anew.
#![no_main]

use carillon_fuzz::frames;
use carillon_protocol::command::Command;
use carillon_protocol::command_encode::{command_bytes, encode_command};
use carillon_protocol::frame::FrameLimits;
use carillon_protocol::grammar::parse;
use carillon_protocol::mailbox_name::NameFormat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, bool, &[u8])| {
    let (dotted, utf8, bytes) = input;
    let format = NameFormat { separator: if dotted { '.' } else { '/' }, utf8 };
    for (frame, messages) in frames(FrameLimits::AUTHENTICATED, bytes, usize::MAX) {
        let Ok(tagged) = parse(&frame, format) else { continue };
        if has_other_charset(&tagged.command) {
            continue;
        }
        let written = command_bytes(&encode_command(&tagged, format), &messages);
        // Escapes and announcements may be longer than what was read.
        let limits =
            FrameLimits { line_bytes: 1 << 20, literals_bytes: 1 << 20, literal_count: 1 << 20, ..FrameLimits::AUTHENTICATED };
        let again = frames(limits, &written, usize::MAX);
        assert_eq!(again.len(), 1);
        assert_eq!(again.first().map(|(frame, _)| parse(frame, format)), Some(Ok(tagged)));
    }
});

/// Several texts of a legacy charset can stand for one text.
fn has_other_charset(command: &Command) -> bool {
    let name = match command {
        Command::Search { charset, .. } => charset.as_deref().unwrap_or("UTF-8"),
        Command::Sort { charset, .. } | Command::Thread { charset, .. } => charset,
        _ => return false,
    };
    !["UTF-8", "US-ASCII"].iter().any(|known| known.eq_ignore_ascii_case(name))
}
