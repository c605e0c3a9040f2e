//! URLs of mailboxes (RFC 5092), for referrals.

use std::fmt::Write as _;

/// The URL of what lies below `base` (a server's URL or a mailbox's) under these levels. Between levels stands `/`, as URLs have it.
pub fn below(base: &str, levels: &[String]) -> String {
    let mut url = base.trim_end_matches('/').to_owned();
    for level in levels {
        url.push('/');
        for byte in level.bytes() {
            match byte {
                // `unreserved` of RFC 3986 §2.3.
                b'-' | b'.' | b'_' | b'~' => url.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => url.push(char::from(byte)),
                _ => drop(write!(url, "%{byte:02X}")),
            }
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_escaped() {
        let levels = |levels: &[&str]| levels.iter().map(|level| (*level).to_owned()).collect::<Vec<_>>();
        assert_eq!(below("imap://host/", &levels(&["Work", "2024"])), "imap://host/Work/2024");
        assert_eq!(below("imap://host/News", &levels(&["a/b c", "ü~"])), "imap://host/News/a%2Fb%20c/%C3%BC~");
        assert_eq!(below("imap://host/News", &[]), "imap://host/News");
    }
}
