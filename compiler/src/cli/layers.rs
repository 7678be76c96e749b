//! Calls of one layer together: a layer is a node of the model with all that was fused into it.

use std::collections::HashMap;

/// A layer's calls, under the name of the first node that they came from.
pub(crate) struct Layer<'c, T> {
    pub(crate) name: &'c str,
    pub(crate) calls: Vec<&'c T>,
}

impl<T> Layer<'_, T> {
    /// A number of each call, added up.
    pub(crate) fn sum<N: std::iter::Sum>(&self, number: impl Fn(&T) -> N) -> N {
        self.calls.iter().map(|call| number(call)).sum()
    }

    /// The call with the greatest number.
    pub(crate) fn longest(&self, number: impl Fn(&T) -> f64) -> &T {
        let longest = self.calls.iter().max_by(|a, b| number(a).total_cmp(&number(b)));
        longest.unwrap_or_else(|| unreachable!("a layer has calls"))
    }
}

/// The calls by layer, in the order in which the layers first run; `origin` names the nodes of a call, joined by commas.
pub(crate) fn layers<'c, T>(calls: &'c [T], origin: impl Fn(&'c T) -> &'c str) -> Vec<Layer<'c, T>> {
    let mut layers: Vec<Layer<'c, T>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for call in calls {
        let origin = origin(call);
        let name = origin.split(", ").next().unwrap_or(origin);
        let place = *places.entry(name).or_insert(layers.len());
        if place == layers.len() {
            layers.push(Layer { name, calls: Vec::new() });
        }
        layers[place].calls.push(call);
    }
    layers
}

/// What is said below a table of the first `shown` of so many layers.
pub(crate) fn rest(shown: usize, layers: usize) -> String {
    match layers.saturating_sub(shown) {
        0 => String::new(),
        more => format!("\n {more} more layers: --top {layers} shows all, --calls each kernel call"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_the_same_first_node_are_one_layer() {
        let calls = [("conv, relu", 1.0), ("pool", 2.0), ("conv", 4.0)];
        let layers = layers(&calls, |call| call.0);
        assert_eq!(
            layers.iter().map(|layer| (layer.name, layer.calls.len())).collect::<Vec<_>>(),
            [("conv", 2), ("pool", 1)]
        );
        assert_eq!((layers[0].sum(|call| call.1), layers[0].longest(|call| call.1).0), (5.0, "conv"));
        assert_eq!(rest(20, 20), "");
        assert_eq!(rest(20, 23), "\n 3 more layers: --top 23 shows all, --calls each kernel call");
    }
}
