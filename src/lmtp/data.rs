//! The bytes of a message on their way in: dots unstuffed, lone LF made CRLF, the end found. The end is CR LF . CR LF and nothing else: whoever takes
//! another sequence for it can be made to read one message as two (SMTP smuggling). A lone CR stays as it is.

/// Where the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Behind a CRLF, or at the beginning.
    LineStart,
    /// Behind a dot at the start of a line.
    Dot,
    /// Behind a dot and CR at the start of a line.
    DotCr,
    /// Within a line; also behind a lone LF, which ends no line of the transport.
    Middle,
    /// Behind a CR within a line.
    Cr,
    /// Behind the end.
    End,
}

/// How the octets are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// DATA: dots are stuffed, a dot alone ends.
    Dots,
    /// BDAT: as they are; the caller counts.
    Counted,
}

/// The decoder.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    framing: Framing,
    has_nul: bool,
}

impl Decoder {
    /// At the beginning of a message.
    pub const fn new(framing: Framing) -> Self {
        Self { state: State::LineStart, framing, has_nul: false }
    }

    /// Whether the end of DATA was found.
    pub fn is_at_end(&self) -> bool {
        self.state == State::End
    }

    /// Whether a NUL was among the bytes.
    pub const fn has_nul(&self) -> bool {
        self.has_nul
    }

    /// Takes bytes, puts what they mean to `output`, and gives the number that it took: all, or up to the end of DATA.
    pub fn push(&mut self, input: &[u8], output: &mut Vec<u8>) -> usize {
        for (index, byte) in input.iter().enumerate() {
            self.has_nul |= *byte == 0;
            self.byte(*byte, output);
            if self.state == State::End {
                return index + 1;
            }
        }
        input.len()
    }

    /// The last chunk of BDAT has come: a CR that waited for its LF was a lone one.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        if self.state == State::Cr {
            output.push(b'\r');
            self.state = State::Middle;
        }
    }

    fn byte(&mut self, byte: u8, output: &mut Vec<u8>) {
        self.state = match (self.state, byte) {
            (State::LineStart, b'.') if self.framing == Framing::Dots => State::Dot,
            (State::Dot, b'\r') => State::DotCr,
            (State::DotCr, b'\n') => State::End,
            (State::DotCr, b'\r') => {
                output.push(b'\r');
                State::Cr
            }
            (State::Cr, b'\n') => {
                output.extend_from_slice(b"\r\n");
                State::LineStart
            }
            (State::Cr, b'\r') => {
                output.push(b'\r');
                State::Cr
            }
            (state, b'\n') => {
                if state == State::DotCr {
                    output.push(b'\r');
                }
                output.extend_from_slice(b"\r\n");
                State::Middle
            }
            (_, b'\r') if self.state != State::End => State::Cr,
            (State::End, _) => State::End,
            (state, other) => {
                if matches!(state, State::Cr | State::DotCr) {
                    output.push(b'\r');
                }
                output.push(other);
                State::Middle
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(input: &[u8]) -> (String, Option<String>) {
        let (mut decoder, mut output) = (Decoder::new(Framing::Dots), Vec::new());
        let used = decoder.push(input, &mut output);
        let rest = decoder.is_at_end().then(|| String::from_utf8_lossy(&input[used..]).into_owned());
        (String::from_utf8_lossy(&output).into_owned(), rest)
    }

    fn whole(input: &[u8]) -> String {
        let (text, rest) = decode(input);
        assert_eq!(rest.as_deref(), Some(""), "{text:?}");
        text
    }

    #[test]
    fn dots_are_unstuffed() {
        assert_eq!(whole(b".\r\n"), "");
        assert_eq!(whole(b"a\r\n.\r\n"), "a\r\n");
        assert_eq!(whole(b"..\r\n...\r\n.a\r\nb.\r\n.\r\n"), ".\r\n..\r\na\r\nb.\r\n");
        assert_eq!(decode(b"a\r\n.\r\nMAIL"), ("a\r\n".to_owned(), Some("MAIL".to_owned())));
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends() {
        for smuggled in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n\n.\r\r\n"] {
            let input = format!("a{smuggled}MAIL FROM:<x>\r\n.\r\n");
            let text = whole(input.as_bytes());
            assert!(text.contains("MAIL FROM:<x>"), "{smuggled:?} gave {text:?}");
        }
    }

    #[test]
    fn a_lone_lf_becomes_crlf_and_a_lone_cr_stays() {
        assert_eq!(whole(b"a\nb\n\nc\r\n.\r\n"), "a\r\nb\r\n\r\nc\r\n");
        assert_eq!(whole(b"a\rb\r\r\nc\r\n.\r\n"), "a\rb\r\r\nc\r\n");
        assert_eq!(whole(b".\rx\r\n.\r\n"), "\rx\r\n");
        assert_eq!(whole(b".\n.x\r\n.\r\n"), "\r\n.x\r\n");
        assert_eq!(whole(b".\r\r\n.\r\n"), "\r\r\n");
    }

    #[test]
    fn counted_bytes_are_as_they_are() {
        let (mut decoder, mut output) = (Decoder::new(Framing::Counted), Vec::new());
        decoder.push(b".\r\n..a\r", &mut output);
        decoder.push(b"\n.\r\n\nb\r", &mut output);
        decoder.finish(&mut output);
        assert_eq!(output, b".\r\n..a\r\n.\r\n\r\nb\r");
        assert!(!decoder.is_at_end() && !decoder.has_nul());
    }

    #[test]
    fn nul_is_noticed() {
        let (mut decoder, mut output) = (Decoder::new(Framing::Dots), Vec::new());
        decoder.push(b"a\0b\r\n.\r\n", &mut output);
        assert!(decoder.has_nul());
    }

    /// What a correct sender does.
    fn stuff(lines: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            if line.first() == Some(&b'.') {
                bytes.push(b'.');
            }
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b".\r\n");
        bytes
    }

    proptest! {
        #[test]
        fn what_was_stuffed_comes_out_in_any_pieces(
            lines in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'a'), any::<u8>()], 0..6), 0..6),
            cut in 0_usize..40,
        ) {
            // A line that ends in CR would end the line with CR CR LF; LF within lines is another test's matter.
            let lines: Vec<Vec<u8>> = lines.into_iter().map(|line| line.into_iter().filter(|byte| *byte != b'\n').collect()).collect();
            let (input, expected) = (stuff(&lines), lines.iter().flat_map(|line| [line.as_slice(), b"\r\n"].concat()).collect::<Vec<u8>>());
            let (mut decoder, mut output) = (Decoder::new(Framing::Dots), Vec::new());
            let cut = cut.min(input.len());
            let first = decoder.push(&input[..cut], &mut output);
            prop_assert_eq!(first, cut);
            prop_assert_eq!(cut + decoder.push(&input[cut..], &mut output), input.len());
            prop_assert!(decoder.is_at_end());
            prop_assert_eq!(output, expected);
        }

        #[test]
        fn no_lone_lf_comes_out(input in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a')], 0..30)) {
            for framing in [Framing::Dots, Framing::Counted] {
                let mut output = Vec::new();
                Decoder::new(framing).push(&input, &mut output);
                prop_assert!(output.iter().enumerate().all(|(index, byte)| *byte != b'\n' || index > 0 && output[index - 1] == b'\r'));
            }
        }
    }
}
