//! Any frame gives a command or an error.
#![no_main]

use carillon_protocol::command::Frame;
use carillon_protocol::grammar::{CommandError, parse};
use carillon_protocol::mailbox_name::NameFormat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let frame = Frame { text: text.to_vec(), messages: vec![1; 3] };
    for (separator, utf8) in [('/', false), ('.', true)] {
        match parse(&frame, NameFormat { separator, utf8 }) {
            Ok(tagged) => {
                let _ = (tagged.command.rule(), tagged.command.name());
            }
            Err(CommandError::Syntax(error)) => assert!(error.at <= text.len()),
            Err(_) => {}
        }
    }
});
