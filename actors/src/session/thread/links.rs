//! Who is whose child, where links are made and broken in any order: link-cut trees (Sleator and Tarjan, "A Data Structure for Dynamic Trees", 1983), which
//! find the root of a tree in O(log n), amortised, however deep it is.

/// A forest of nodes that are numbered from 0.
#[derive(Default)]
pub(super) struct Links {
    parents: Vec<Option<usize>>,
    /// The same trees cut into paths from above to below, each a splay tree with what is above on the left.
    paths: Vec<Node>,
}

#[derive(Clone, Copy, Default)]
struct Node {
    /// In the splay tree; of its top the node above the path's end.
    above: Option<usize>,
    left: Option<usize>,
    right: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

impl Links {
    /// A new node, alone.
    pub(super) fn add(&mut self) -> usize {
        self.parents.push(None);
        self.paths.push(Node::default());
        self.parents.len() - 1
    }

    /// The parent of each node.
    pub(super) fn into_parents(self) -> Vec<Option<usize>> {
        self.parents
    }

    pub(super) fn has_parent(&self, node: usize) -> bool {
        self.parents.get(node).is_some_and(Option::is_some)
    }

    /// Makes `child`, which has no parent, a child of `parent`, unless that made a loop.
    pub(super) fn link(&mut self, parent: usize, child: usize) {
        // It is the root of its tree: `parent` is below it if it has the same.
        if self.root(parent) == child {
            return;
        }
        self.expose(child);
        self.set_above(Some(child), Some(parent));
        if let Some(slot) = self.parents.get_mut(child) {
            *slot = Some(parent);
        }
    }

    /// Takes a node from its parent, if it has one.
    pub(super) fn cut(&mut self, child: usize) {
        self.expose(child);
        let above = self.below(child, Side::Left);
        self.set_above(above, None);
        self.set_below(child, Side::Left, None);
        if let Some(slot) = self.parents.get_mut(child) {
            *slot = None;
        }
    }

    fn root(&mut self, node: usize) -> usize {
        self.expose(node);
        let mut root = node;
        while let Some(next) = self.below(root, Side::Left) {
            root = next;
        }
        self.splay(root);
        root
    }

    /// Makes the way from the root to the node one path that ends there, and the node its splay tree's top.
    fn expose(&mut self, node: usize) {
        let (mut lower, mut next) = (None, Some(node));
        while let Some(top) = next {
            self.splay(top);
            self.set_below(top, Side::Right, lower);
            (lower, next) = (Some(top), self.above(top));
        }
        self.splay(node);
    }

    fn splay(&mut self, node: usize) {
        while let Some((parent, side)) = self.place(node) {
            if let Some((_, parents_side)) = self.place(parent) {
                self.rotate(if side == parents_side { parent } else { node });
            }
            self.rotate(node);
        }
    }

    /// Lifts a node above its parent in the splay tree.
    fn rotate(&mut self, node: usize) {
        let Some((parent, side)) = self.place(node) else { return };
        let (above, inner) = (self.place(parent), self.below(node, side.other()));
        let top = self.above(parent);
        self.set_below(parent, side, inner);
        self.set_above(inner, Some(parent));
        self.set_below(node, side.other(), Some(parent));
        self.set_above(Some(parent), Some(node));
        self.set_above(Some(node), top);
        if let Some((above, side)) = above {
            self.set_below(above, side, Some(node));
        }
    }

    /// Its parent in the splay tree and on which side it is; `None` at the top.
    fn place(&self, node: usize) -> Option<(usize, Side)> {
        let above = self.above(node)?;
        let side = [Side::Left, Side::Right].into_iter().find(|side| self.below(above, *side) == Some(node))?;
        Some((above, side))
    }

    fn above(&self, node: usize) -> Option<usize> {
        self.paths.get(node)?.above
    }

    fn set_above(&mut self, node: Option<usize>, above: Option<usize>) {
        if let Some(node) = node.and_then(|node| self.paths.get_mut(node)) {
            node.above = above;
        }
    }

    fn below(&self, node: usize, side: Side) -> Option<usize> {
        let node = self.paths.get(node)?;
        if side == Side::Left { node.left } else { node.right }
    }

    fn set_below(&mut self, node: usize, side: Side, below: Option<usize>) {
        if let Some(node) = self.paths.get_mut(node) {
            *(if side == Side::Left { &mut node.left } else { &mut node.right }) = below;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against walking up from node to node.
        #[test]
        fn links_are_those_of_walking_up(steps in prop::collection::vec((0usize..12, 0usize..12, 0..3), 0..80)) {
            let mut links = Links::default();
            (0..12).for_each(|node| assert_eq!(links.add(), node));
            let mut parents = vec![None; 12];
            for (parent, child, what) in steps {
                if what == 0 {
                    links.cut(child);
                    parents[child] = None;
                } else if parents[child].is_none() {
                    links.link(parent, child);
                    let mut above = std::iter::successors(Some(parent), |node| parents[*node]);
                    if above.all(|node| node != child) {
                        parents[child] = Some(parent);
                    }
                }
                prop_assert_eq!((0..12).map(|node| links.has_parent(node)).collect::<Vec<_>>(), parents.iter().map(Option::is_some).collect::<Vec<_>>());
            }
            prop_assert_eq!(links.into_parents(), parents);
        }
    }
}
