//! What one look has to tell, as responses that are made one by one while they are written.

use carillon_protocol::flag::Flag;
use carillon_protocol::number::SeqNum;
use carillon_protocol::response::{Condition, FetchData, NewKeywords, ResponseCode, Status, Untagged};
use carillon_protocol::set::UidSet;

use super::reader::Reader;

/// What the client has to be told after a look, in the order in which it must be: EXPUNGE, EXISTS, RECENT, FETCH, with FLAGS before all FETCH.
#[derive(Clone, Debug)]
pub struct Changes {
    /// FLAGS and PERMANENTFLAGS, where there are new keywords.
    pub(super) flags: Option<FlagLists>,
    /// Runs of messages that are gone: place of the first from 0 in the numbering before, and how many. Ascending, apart.
    pub(super) expunged: Vec<(usize, usize)>,
    pub(super) exists: Option<usize>,
    pub(super) recent: Option<usize>,
    /// Whose FLAGS are told, in the numbering after.
    pub(super) fetched: UidSet,
    pub(super) reader: Reader,
}

/// The flags that a mailbox knows, and those that the client may store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagLists {
    /// For FLAGS.
    pub defined: Vec<Flag>,
    /// For PERMANENTFLAGS; empty in a mailbox that was opened read-only.
    pub permanent: Vec<Flag>,
    /// Whether PERMANENTFLAGS ends with `\*`.
    pub new_keywords: NewKeywords,
}

impl FlagLists {
    /// FLAGS, then OK `[PERMANENTFLAGS]`.
    pub fn responses(&self) -> [Untagged; 2] {
        let text = match (self.permanent.is_empty(), self.new_keywords) {
            (true, _) => "No flag can be changed here",
            (false, NewKeywords::Allowed) => "Flags can be changed, keywords made",
            (false, NewKeywords::Refused) => "Flags can be changed; there is no room for new keywords",
        };
        let code = ResponseCode::PermanentFlags(self.permanent.clone(), self.new_keywords);
        let status = Status { condition: Condition::Ok, code: Some(code), text: text.to_owned() };
        [Untagged::Flags(self.defined.clone()), Untagged::Status(status)]
    }
}

impl Changes {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        let Self { flags, expunged, exists, recent, fetched, reader: _ } = self;
        flags.is_none() && expunged.is_empty() && exists.is_none() && recent.is_none() && fetched.is_empty()
    }

    /// The responses, each made when it is asked for: a look may have a million of them.
    pub fn responses(&self) -> impl Iterator<Item = Untagged> + '_ {
        let flags = self.flags.as_ref().map(FlagLists::responses);
        let exists = self.exists.map(|count| Untagged::Exists(as_number(count)));
        let recent = self.recent.map(|count| Untagged::Recent(as_number(count)));
        self.expunges().chain(exists).chain(recent).chain(flags.into_iter().flatten()).chain(self.fetches())
    }

    /// Each EXPUNGE moves what is behind it down by one (RFC 9051 §7.5.1), so that a run is one number again and again.
    fn expunges(&self) -> impl Iterator<Item = Untagged> + '_ {
        let mut gone = 0;
        self.expunged.iter().flat_map(move |(first, count)| {
            let seq = SeqNum::from_index(first.saturating_sub(gone));
            gone += count;
            std::iter::repeat_n(seq, *count).flatten().map(Untagged::Expunge)
        })
    }

    fn fetches(&self) -> impl Iterator<Item = Untagged> + '_ {
        self.reader.messages(&self.fetched).map(|message| {
            let flags = FetchData::Flags { flags: self.reader.flag_set(message.flags), recent: message.recent };
            Untagged::Fetch(message.seq, vec![FetchData::Uid(message.uid), flags])
        })
    }
}

fn as_number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
