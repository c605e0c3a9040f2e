//! Which keywords of imported messages a mailbox has room for.

use std::collections::BTreeSet;

use carillon_actors::mailbox::requests::{NewMessage, Snapshot};
use carillon_protocol::flag::{FlagSet, Keyword};

/// Takes from messages the keywords for which the mailbox has no room any more: what was taken, for each message that lost some. `most` is how many different
/// keywords the messages of a mailbox may have.
pub fn fit(messages: &mut [(usize, NewMessage)], snapshot: &Snapshot, most: usize) -> Vec<(usize, Vec<String>)> {
    let mut held = held(messages, snapshot, most);
    let mut lost = Vec::new();
    for (index, message) in messages {
        let (mut kept, mut taken) = (Vec::new(), Vec::new());
        for keyword in message.flags.keywords() {
            if held.contains(keyword) || held.len() < most {
                held.insert(keyword.clone());
                kept.push(keyword.clone());
            } else {
                taken.push(keyword.to_string());
            }
        }
        if !taken.is_empty() {
            message.flags = FlagSet::from_parts(message.flags.system_bits(), kept);
            lost.push((*index, taken));
        }
    }
    lost
}

/// The keywords that need their room: where it is short, only those that some message has.
fn held(messages: &[(usize, NewMessage)], snapshot: &Snapshot, most: usize) -> BTreeSet<Keyword> {
    let known = snapshot.keywords();
    let asked = messages.iter().flat_map(|(_, message)| message.flags.keywords());
    let all: BTreeSet<&Keyword> = known.iter().chain(asked).collect();
    let is_short = all.len() > most;
    let bits =
        if is_short { snapshot.messages().iter().fold(0, |bits, message| bits | message.flags.keyword_bits()) } else { u64::MAX };
    (0..).zip(known).filter(|(place, _)| bits & (1_u64 << place) != 0).map(|(_, keyword)| keyword.clone()).collect()
}
