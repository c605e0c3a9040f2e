//! LIST and LSUB over a snapshot (RFC 3501 §6.3.8 and §6.3.9, RFC 3348, RFC 6154 §2); RLIST and RLSUB know remote mailboxes too (RFC 2193 §5).

use std::collections::BTreeMap;

use carillon_protocol::command::ListKind;
use carillon_protocol::mailbox_name::{MailboxName, NameFormat};
use carillon_protocol::pattern::Pattern;
use carillon_protocol::response::{ListAttribute, ListEntry, ListName, ListResponse};

use super::remote::RemoteMailboxes;
use super::state::{Entry, State};

/// The answer to a listing command: INBOX first, then by name. Reference and pattern are those of [`Command::List`]: decoded already.
///
/// [`Command::List`]: carillon_protocol::command::Command::List
pub fn list(
    state: &State,
    remote: &RemoteMailboxes,
    kind: ListKind,
    reference: &str,
    pattern: &str,
    format: NameFormat,
) -> Vec<ListEntry> {
    let response = match kind {
        ListKind::List | ListKind::RList => ListResponse::List,
        ListKind::Lsub | ListKind::RLsub => ListResponse::Lsub,
    };
    let separator = Some(format.separator);
    if pattern.is_empty() {
        // The hierarchy's root (RFC 3501 §6.3.8): no name is rooted here.
        let name = ListName::Text(String::new());
        return vec![ListEntry { kind: response, attributes: vec![ListAttribute::NoSelect], separator, name }];
    }
    let matcher = Pattern::new(reference, pattern, format);
    let found = match kind {
        ListKind::List => listed(state.entries().map(Listed::Own), &matcher),
        ListKind::RList => {
            let mut all: Vec<Listed<'_>> =
                state.entries().map(Listed::Own).chain(remote.names(state).map(Listed::Remote)).collect();
            all.sort_by(|left, right| left.name().cmp(right.name()));
            listed(all.into_iter(), &matcher)
        }
        ListKind::Lsub | ListKind::RLsub => {
            let is_shown = |name: &MailboxName| kind == ListKind::RLsub || remote.url(name, state).is_none();
            let names = state.subscriptions().filter(|name| is_shown(name));
            subscribed(names, |name| state.is_subscribed(name), &matcher, pattern.ends_with('%')).into_iter().collect()
        }
    };
    let (inbox, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(name, _)| name.is_inbox());
    let line = |(name, attributes)| ListEntry { kind: response, attributes, separator, name: ListName::Mailbox(name) };
    inbox.into_iter().chain(others).map(line).collect()
}

/// The attributes of a mailbox, as LIST tells them.
pub fn attributes(state: &State, entry: &Entry) -> Vec<ListAttribute> {
    attributes_of(entry, state.has_children(&entry.name))
}

fn attributes_of(entry: &Entry, has_children: bool) -> Vec<ListAttribute> {
    let children = if has_children { ListAttribute::HasChildren } else { ListAttribute::HasNoChildren };
    std::iter::once(children).chain(entry.special_use.iter().copied().map(ListAttribute::SpecialUse)).collect()
}

/// A name of LIST or RLIST that is no mere parent.
#[derive(Clone, Copy)]
enum Listed<'a> {
    Own(&'a Entry),
    Remote(&'a MailboxName),
}

impl<'a> Listed<'a> {
    const fn name(self) -> &'a MailboxName {
        match self {
            Self::Own(entry) => &entry.name,
            Self::Remote(name) => name,
        }
    }

    fn attributes(self, has_children: bool) -> Vec<ListAttribute> {
        match self {
            Self::Own(entry) => attributes_of(entry, has_children),
            Self::Remote(_) if has_children => vec![ListAttribute::HasChildren],
            // What is below it over there is not known here (RFC 3348 §3).
            Self::Remote(_) => Vec::new(),
        }
    }
}

/// A name that has children and no mailbox: rev1 clients know \Noselect, rev2 clients \NonExistent (RFC 9051 §7.3.1).
fn attributes_of_parent() -> Vec<ListAttribute> {
    vec![ListAttribute::NoSelect, ListAttribute::NonExistent, ListAttribute::HasChildren]
}

/// Mailboxes and the names above them that are none, in order.
fn listed<'a>(entries: impl Iterator<Item = Listed<'a>>, matcher: &Pattern) -> Vec<(MailboxName, Vec<ListAttribute>)> {
    let mut found = Vec::new();
    let mut entries = entries.peekable();
    let mut before: Option<&MailboxName> = None;
    while let Some(entry) = entries.next() {
        let name = entry.name();
        for superior in missing_superiors(before, name).filter(|superior| matcher.matches(superior)) {
            found.push((superior, attributes_of_parent()));
        }
        if matcher.matches(name) {
            let has_children = entries.peek().is_some_and(|next| next.name().is_below(name));
            found.push((name.clone(), entry.attributes(has_children)));
        }
        before = Some(name);
    }
    found
}

/// The superiors of `name` that `before`, the mailbox before it in order, neither is nor lies below: no mailboxes, or they would stand between the two.
fn missing_superiors<'a>(before: Option<&MailboxName>, name: &'a MailboxName) -> impl Iterator<Item = MailboxName> + 'a {
    let known = before.map_or(&[][..], MailboxName::segments);
    let common = known.iter().zip(name.segments()).take_while(|(left, right)| left == right).count();
    name.superiors().skip(common)
}

/// Subscribed names as they are, mailboxes or not; for a pattern that ends with `%` also the names above them that are not subscribed (RFC 3501 §6.3.9).
fn subscribed<'a>(
    names: impl Iterator<Item = &'a MailboxName>,
    is_subscribed: impl Fn(&MailboxName) -> bool,
    matcher: &Pattern,
    with_superiors: bool,
) -> BTreeMap<MailboxName, Vec<ListAttribute>> {
    let mut found = BTreeMap::new();
    for name in names {
        if matcher.matches(name) {
            found.insert(name.clone(), Vec::new());
        }
        if with_superiors {
            for superior in matcher.matching_superiors(name) {
                if !is_subscribed(&superior) {
                    found.insert(superior, vec![ListAttribute::NoSelect]);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
