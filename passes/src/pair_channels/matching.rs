//! A matching of low cost: a greedy choice of pairs, improved by exchanging partners.

/// The cost of each pair of items.
pub(crate) struct Costs {
    count: usize,
    costs: Vec<i64>,
}

impl Costs {
    /// Creates a matrix of zero costs for `count` items.
    pub(crate) fn new(count: usize) -> Self {
        Costs { count, costs: vec![0; count * count] }
    }

    pub(crate) fn add(&mut self, a: usize, b: usize, cost: i64) {
        self.costs[a * self.count + b] += cost;
        self.costs[b * self.count + a] += cost;
    }

    fn row(&self, a: usize) -> &[i64] {
        &self.costs[a * self.count..][..self.count]
    }

    fn of(&self, a: usize, b: usize) -> i64 {
        self.costs[a * self.count + b]
    }
}

/// The greatest number of rounds of exchanges. Most of the gain comes from the first rounds.
const ROUNDS: usize = 8;

/// Returns `wanted` pairs, at most half of the items, and the items without a partner.
pub(crate) fn pairs(costs: &Costs, wanted: usize) -> (Vec<[usize; 2]>, Vec<usize>) {
    // Items with the greatest costs choose first.
    let mut order: Vec<usize> = (0..costs.count).collect();
    let care = |a: usize| costs.row(a).iter().map(|cost| cost.abs()).sum::<i64>();
    order.sort_by_cached_key(|a| (-care(*a), *a));
    let mut free = vec![true; costs.count];
    let mut pairs = Vec::with_capacity(wanted);
    for a in order {
        if pairs.len() == wanted {
            break;
        }
        if !std::mem::replace(&mut free[a], false) {
            continue;
        }
        let partners = (0..costs.count).filter(|b| free[*b]);
        let Some(b) = partners.min_by_key(|b| costs.of(a, *b)) else { break };
        free[b] = false;
        pairs.push([a, b]);
    }
    for _ in 0..ROUNDS {
        if !exchange(costs, &mut pairs) {
            break;
        }
    }
    pairs.iter_mut().for_each(|pair| pair.sort_unstable());
    pairs.sort_unstable();
    (pairs, (0..costs.count).filter(|a| free[*a]).collect())
}

/// Exchanges the partners of each pair with those of the pair where it saves most. Returns true if any exchange was
/// made.
fn exchange(costs: &Costs, pairs: &mut [[usize; 2]]) -> bool {
    let mut any = false;
    for x in 0..pairs.len() {
        let [a, b] = pairs[x];
        let (of_a, of_b) = (costs.row(a), costs.row(b));
        let mut best = (0, x, [a, b], [a, b]);
        for (y, &[c, d]) in pairs.iter().enumerate() {
            let now = of_a[b] + costs.of(c, d);
            let (straight, crossed) = (of_a[c] + of_b[d] - now, of_a[d] + of_b[c] - now);
            if y != x && straight.min(crossed) < best.0 {
                best = if straight <= crossed { (straight, y, [a, c], [b, d]) } else { (crossed, y, [a, d], [b, c]) };
            }
        }
        let (gain, y, first, second) = best;
        if gain < 0 {
            (pairs[x], pairs[y], any) = (first, second, true);
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partners_are_exchanged_until_that_saves_nothing() {
        let mut costs = Costs::new(4);
        costs.add(0, 1, -10);
        costs.add(0, 2, -9);
        costs.add(1, 3, -9);
        assert_eq!(pairs(&costs, 1), (vec![[0, 1]], vec![2, 3]));
        // 0 takes 1 first, so that 2 and 3 remain.
        assert_eq!(pairs(&costs, 2), (vec![[0, 2], [1, 3]], vec![]));
    }
}
