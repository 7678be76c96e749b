//! Groups calls by layer: a layer is a node of the model with all nodes fused into it.

use std::collections::HashMap;

/// The calls that start with the same node of the model, which names the layer.
pub(crate) struct Layer<'c, T> {
    pub(crate) name: &'c str,
    pub(crate) calls: Vec<&'c T>,
}

impl<T> Layer<'_, T> {
    /// Sums a number over the calls.
    pub(crate) fn sum<N: std::iter::Sum>(&self, number: impl Fn(&T) -> N) -> N {
        self.calls.iter().map(|call| number(call)).sum()
    }

    /// The call with the largest number.
    pub(crate) fn longest(&self, number: impl Fn(&T) -> f64) -> &T {
        let longest = self.calls.iter().max_by(|a, b| number(a).total_cmp(&number(b)));
        longest.unwrap_or_else(|| unreachable!("a layer has calls"))
    }
}

/// Groups calls by layer, in execution order; `origin` returns the names of a call's nodes, separated by commas.
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

/// The line below a table that shows only the first `shown` layers.
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
