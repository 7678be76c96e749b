//! Removes nodes whose results no output depends on, and constants that nothing reads.
//!
//! Exact: yes.

use eightfold_ir::Graph;

use crate::pass::{Pass, PassContext, PassError};

/// See the module's documentation.
pub(crate) struct EliminateDead;

impl Pass for EliminateDead {
    fn name(&self) -> &'static str {
        "eliminate_dead"
    }

    fn summary(&self) -> &'static str {
        "remove nodes that no output needs and constants that nothing reads"
    }

    fn works_in_bodies(&self) -> bool {
        true
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        if cx.spend(|| "nodes that no output needs".to_owned()) {
            graph.eliminate_dead();
        }
        Ok(())
    }
}
