//! A small directed graph: circles and floors.

use std::collections::BTreeSet;

/// Nodes by number, and for each those that it points to.
pub(super) struct Graph {
    arrows: Vec<BTreeSet<usize>>,
}

impl Graph {
    pub(super) fn new(nodes: usize) -> Self {
        Self { arrows: vec![BTreeSet::new(); nodes] }
    }

    /// An arrow; one from a node to itself says nothing.
    pub(super) fn add(&mut self, from: usize, to: usize) {
        if from != to {
            self.arrows[from].insert(to);
        }
    }

    pub(super) fn of(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        self.arrows[node].iter().copied()
    }

    /// The strongly connected components of more than one node, each sorted.
    pub(super) fn circles(&self) -> Vec<Vec<usize>> {
        self.components().into_iter().filter(|nodes| nodes.len() > 1).collect()
    }

    /// For each node the length of the longest way down from it, counted in components, from 1.
    pub(super) fn floors(&self) -> Vec<usize> {
        let mut floors = vec![0; self.arrows.len()];
        // Components come with what they point to first.
        for nodes in self.components() {
            let below = nodes.iter().flat_map(|&node| self.of(node));
            let below = below.filter(|to| !nodes.contains(to)).map(|to| floors[to]).max();
            for &node in &nodes {
                floors[node] = below.unwrap_or(0) + 1;
            }
        }
        floors
    }

    /// Tarjan's strongly connected components, in reverse topological order.
    fn components(&self) -> Vec<Vec<usize>> {
        let mut search = Search {
            graph: self,
            index: vec![usize::MAX; self.arrows.len()],
            low: vec![0; self.arrows.len()],
            stack: Vec::new(),
            next: 0,
            found: Vec::new(),
        };
        for node in 0..self.arrows.len() {
            if search.index[node] == usize::MAX {
                search.visit(node);
            }
        }
        search.found
    }
}

struct Search<'a> {
    graph: &'a Graph,
    index: Vec<usize>,
    low: Vec<usize>,
    stack: Vec<usize>,
    next: usize,
    found: Vec<Vec<usize>>,
}

impl Search<'_> {
    fn visit(&mut self, node: usize) {
        self.index[node] = self.next;
        self.low[node] = self.next;
        self.next += 1;
        self.stack.push(node);
        let graph = self.graph;
        for to in graph.of(node) {
            if self.index[to] == usize::MAX {
                self.visit(to);
                self.low[node] = self.low[node].min(self.low[to]);
            } else if self.stack.contains(&to) {
                self.low[node] = self.low[node].min(self.index[to]);
            }
        }
        if self.low[node] == self.index[node] {
            let from = self.stack.iter().position(|&own| own == node);
            let mut nodes = self.stack.split_off(from.expect("it was pushed above"));
            nodes.sort_unstable();
            self.found.push(nodes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: usize, arrows: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::new(nodes);
        for &(from, to) in arrows {
            graph.add(from, to);
        }
        graph
    }

    #[test]
    fn a_circle_is_found_and_a_chain_is_none() {
        assert_eq!(graph(4, &[(0, 1), (1, 2), (2, 3)]).circles(), Vec::<Vec<usize>>::new());
        assert_eq!(graph(4, &[(0, 1), (1, 2), (2, 0), (2, 3)]).circles(), [vec![0, 1, 2]]);
    }

    #[test]
    fn floors_count_the_longest_way_down() {
        assert_eq!(graph(4, &[(0, 1), (1, 2), (0, 2), (0, 3)]).floors(), [3, 2, 1, 1]);
        assert_eq!(graph(3, &[(0, 1), (1, 0), (1, 2)]).floors(), [2, 2, 1]);
    }
}
