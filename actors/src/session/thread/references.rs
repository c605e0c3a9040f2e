//! THREAD=REFERENCES, step by step (RFC 5256 §3, REFERENCES).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use carillon_protocol::response::Thread;

use super::Row;
use super::links::Links;

/// The threads of rows.
pub(super) fn references(rows: &[Row]) -> Vec<Thread> {
    let mut forest = pruned(rows, &linked(rows));
    forest.sort_children_of_dummies();
    forest.gather_subjects();
    forest.sort_siblings();
    forest.into_threads()
}

/// Step 1, by its letter: the parent of each node. The first nodes are the rows; those behind stand for messages that are only referred to.
fn linked(rows: &[Row]) -> Vec<Option<usize>> {
    let (mut links, mut nodes) = (Links::default(), HashMap::<&str, usize>::new());
    for row in rows {
        let node = links.add();
        // Of several messages with one id it is the first one's; the others are as if they had one of their own.
        if let Some(Entry::Vacant(entry)) = row.message_id.as_deref().map(|id| nodes.entry(id)) {
            entry.insert(node);
        }
    }
    for (index, row) in rows.iter().enumerate() {
        let mut parent = None;
        // A: each reference is the parent of the next. Who has a parent keeps it.
        for id in &row.references {
            let node = *nodes.entry(id).or_insert_with(|| links.add());
            if let Some(parent) = parent.filter(|_| !links.has_parent(node)) {
                links.link(parent, node);
            }
            parent = Some(node);
        }
        // B: the last is the parent of the message, whatever others said before.
        links.cut(index);
        if let Some(parent) = parent {
            links.link(parent, index);
        }
    }
    links.into_parents()
}

/// A node of the result: a message, or at the top a dummy that holds siblings together.
#[derive(Default)]
struct Node {
    row: Option<usize>,
    children: Vec<usize>,
    is_root: bool,
}

struct Forest<'a> {
    rows: &'a [Row],
    /// Row n is node n; dummies come behind.
    nodes: Vec<Node>,
}

/// Steps 2 and 3: dummies without message go and their children take their place, but at the top a dummy stays if it has several.
fn pruned<'a>(rows: &'a [Row], parents: &[Option<usize>]) -> Forest<'a> {
    let tops = nearest_messages(rows.len(), parents);
    let mut forest = Forest { rows, nodes: Vec::with_capacity(rows.len()) };
    forest.nodes.extend((0..rows.len()).map(|row| Node { row: Some(row), ..Node::default() }));
    let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut order = Vec::new();
    for row in 0..rows.len() {
        match parents.get(row).copied().flatten().and_then(|parent| tops.get(parent).copied()) {
            None => forest.set_root(row),
            Some(top) if top < rows.len() => forest.add_child(top, row),
            Some(top) => {
                let group = groups.entry(top).or_default();
                if group.is_empty() {
                    order.push(top);
                }
                group.push(row);
            }
        }
    }
    for top in order {
        match groups.remove(&top).unwrap_or_default().as_slice() {
            [only] => forest.set_root(*only),
            several => {
                forest.add_dummy(several.to_vec());
            }
        }
    }
    forest
}

/// For each node: the nearest message at or above it, or where there is none, the dummy at the top.
fn nearest_messages(messages: usize, parents: &[Option<usize>]) -> Vec<usize> {
    let mut nearest: Vec<Option<usize>> = (0..parents.len()).map(|node| Some(node).filter(|node| *node < messages)).collect();
    for start in messages..parents.len() {
        let (mut path, mut node) = (Vec::new(), start);
        let found = loop {
            if let Some(found) = nearest.get(node).copied().flatten() {
                break found;
            }
            path.push(node);
            match parents.get(node).copied().flatten() {
                Some(parent) => node = parent,
                None => break node,
            }
        };
        for node in path {
            if let Some(slot) = nearest.get_mut(node) {
                *slot = Some(found);
            }
        }
    }
    nearest.into_iter().enumerate().map(|(node, nearest)| nearest.unwrap_or(node)).collect()
}

impl<'a> Forest<'a> {
    fn children(&self, node: usize) -> &[usize] {
        self.nodes.get(node).map(|node| node.children.as_slice()).unwrap_or_default()
    }

    fn set_root(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.is_root = true;
        }
    }

    fn add_child(&mut self, parent: usize, child: usize) {
        if let Some(parent) = self.nodes.get_mut(parent) {
            parent.children.push(child);
        }
        if let Some(child) = self.nodes.get_mut(child) {
            child.is_root = false;
        }
    }

    fn add_dummy(&mut self, children: Vec<usize>) -> usize {
        let dummy = self.nodes.len();
        self.nodes.push(Node { row: None, children: Vec::new(), is_root: true });
        children.into_iter().for_each(|child| self.add_child(dummy, child));
        dummy
    }

    fn is_dummy(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.row.is_none())
    }

    /// The message that speaks for a node: itself, or of a dummy its first child.
    fn row(&self, node: usize) -> Option<(usize, &'a Row)> {
        let node = self.nodes.get(node)?;
        let row = node.row.or_else(|| self.nodes.get(*node.children.first()?)?.row)?;
        Some((row, self.rows.get(row)?))
    }

    /// The sent date, then the message number: rows are in its order.
    fn key(&self, node: usize) -> (i64, usize) {
        self.row(node).map(|(index, row)| (row.sent, index)).unwrap_or_default()
    }

    fn roots(&self) -> Vec<usize> {
        let mut roots: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes.get(*node).is_some_and(|node| node.is_root)).collect();
        roots.sort_by_key(|node| self.key(*node));
        roots
    }

    fn sort_children(&mut self, node: usize) {
        let mut children = self.nodes.get_mut(node).map(|node| std::mem::take(&mut node.children)).unwrap_or_default();
        children.sort_by_key(|child| self.key(*child));
        if let Some(node) = self.nodes.get_mut(node) {
            node.children = children;
        }
    }

    /// The part of step 4 that step 5 needs: a dummy's first child gives its subject and date.
    fn sort_children_of_dummies(&mut self) {
        (self.rows.len()..self.nodes.len()).for_each(|dummy| self.sort_children(dummy));
    }

    /// Step 5: threads with one base subject become one.
    fn gather_subjects(&mut self) {
        let roots = self.roots();
        let mut table = self.subject_table(&roots);
        for current in roots {
            let Some((_, row)) = self.row(current).filter(|(_, row)| !row.subject.is_empty()) else { continue };
            let is_root = self.nodes.get(current).is_some_and(|node| node.is_root);
            let Some(kept) = table.get(row.subject.as_str()).copied().filter(|kept| *kept != current && is_root) else {
                continue;
            };
            let is_reply = |node| self.row(node).is_some_and(|(_, row)| row.is_reply);
            match (self.is_dummy(kept), self.is_dummy(current)) {
                (true, true) => {
                    let children = self.children(current).to_vec();
                    children.into_iter().for_each(|child| self.add_child(kept, child));
                    if let Some(node) = self.nodes.get_mut(current) {
                        *node = Node::default();
                    }
                }
                (true, false) => self.add_child(kept, current),
                (false, _) if is_reply(current) && !is_reply(kept) => self.add_child(kept, current),
                (false, _) => {
                    let dummy = self.add_dummy(vec![kept, current]);
                    table.insert(&row.subject, dummy);
                }
            }
        }
    }

    /// For each subject the thread that takes the others in: rather a dummy, rather no reply.
    fn subject_table(&self, roots: &[usize]) -> HashMap<&'a str, usize> {
        let mut table: HashMap<&str, usize> = HashMap::new();
        for current in roots {
            let Some((_, row)) = self.row(*current).filter(|(_, row)| !row.subject.is_empty()) else { continue };
            match table.entry(&row.subject) {
                Entry::Vacant(entry) => {
                    entry.insert(*current);
                }
                Entry::Occupied(mut entry) => {
                    let kept = *entry.get();
                    let is_kept_reply = self.row(kept).is_some_and(|(_, row)| row.is_reply);
                    if !self.is_dummy(kept) && (self.is_dummy(*current) || is_kept_reply && !row.is_reply) {
                        entry.insert(*current);
                    }
                }
            }
        }
        table
    }

    /// Step 6, but for the roots, which are sorted where they are taken: no message's place depends on its children's.
    fn sort_siblings(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.sort_children(node));
    }

    /// What is deeper than [`Thread::MAX_DEPTH`] stands beside its parent.
    fn into_threads(self) -> Vec<Thread> {
        // In preorder: the node's message, where its parent is in this list, and how deep it stands.
        let mut order: Vec<(Option<u32>, Option<usize>, usize)> = Vec::with_capacity(self.nodes.len());
        let mut pending: Vec<(usize, Option<usize>)> = self.roots().into_iter().rev().map(|root| (root, None)).collect();
        while let Some((node, parent)) = pending.pop() {
            let above = parent.and_then(|parent| order.get(parent).map(|(_, grandparent, depth)| (parent, *grandparent, *depth)));
            let (parent, depth) = match above {
                Some((_, grandparent, depth)) if depth >= Thread::MAX_DEPTH => (grandparent, depth),
                Some((parent, _, depth)) => (Some(parent), depth + 1),
                None => (None, 1),
            };
            let message = self.nodes.get(node).and_then(|node| self.rows.get(node.row?)).map(|row| row.number);
            let place = order.len();
            order.push((message, parent, depth));
            pending.extend(self.children(node).iter().rev().map(|child| (*child, Some(place))));
        }
        let mut built: Vec<Thread> =
            order.iter().map(|(message, ..)| Thread { message: *message, replies: Vec::new() }).collect();
        let mut roots = Vec::new();
        for (_, parent, _) in order.iter().rev() {
            let Some(mut thread) = built.pop() else { break };
            thread.replies.reverse();
            match parent.and_then(|parent| built.get_mut(parent)) {
                Some(parent) => parent.replies.push(thread),
                None => roots.push(thread),
            }
        }
        roots.reverse();
        roots
    }
}
