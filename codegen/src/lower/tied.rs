//! Tables that are the weights of a product as well, as embeddings of language models are: stored once.
//!
//! A table `[rows, columns]` whose rows are taken by position, and the weights `[columns, rows]` of a product, are the same
//! numbers where the one is the other transposed. The product wants its weights packed, so the rows are taken out of that:
//! row `r` begins in block `r / nr`, and its elements lie `kr` together, `nr` times `kr` apart. To read a row touches more
//! cache lines than the row has, which is little beside the product that reads all of them.
//!
//! What was packed tells, not how the graph came by it: equal are those whose bytes are.

use super::Lowering;
use crate::program::{Blocks, Call, ConstId, Gather, Gemm, Grid, Producer, Storage, View};

/// Elements from which a table is worth the comparison.
const LEAST_ELEMENTS: usize = 1 << 10;

impl Lowering<'_> {
    /// Has rows be taken out of packed weights that are the same, and forgets the tables.
    pub(super) fn share_tables(&mut self) {
        for index in 0..self.calls.len() {
            let Some(table) = self.table(&self.calls[index]) else { continue };
            let packed = self.calls.iter().find_map(|call| self.packed(call, &table));
            if let Some(packed) = packed {
                packed.take_from(&mut self.calls[index]);
            }
        }
        self.forget_unread();
    }

    /// The table that a call takes rows from, if it is a constant as a whole.
    fn table(&self, call: &Call) -> Option<Table> {
        let (Producer::Gather(Gather { axis: 0, blocks: None }), [view, ..]) = (&call.producer, &*call.operands) else {
            return None;
        };
        let ([rows, columns], Storage::Const(id)) = (&*view.grid.dims, view.storage) else { return None };
        let whole = view.offset == 0 && view.grid == Grid::dense(&view.grid.dims);
        let is_table = whole && rows * columns >= LEAST_ELEMENTS && call.output.grid.dims.len() == 2;
        is_table.then(|| Table { id, rows: *rows, columns: *columns, view: view.clone() })
    }

    /// The weights of a call, if they are the table's numbers.
    fn packed(&self, call: &Call, table: &Table) -> Option<Packed> {
        let Producer::Gemm(gemm) = &call.producer else { return None };
        let weights = &call.operands[1];
        let Storage::Const(id) = weights.storage else { return None };
        let fits = gemm.n == table.rows
            && gemm.runs.len() == 1
            && gemm.runs[0].length == table.columns
            && table.columns.is_multiple_of(gemm.tile.kr)
            && gemm.extra.iter().all(Vec::is_empty)
            && weights.dtype == table.view.dtype;
        if !fits {
            return None;
        }
        let packed =
            Packed { view: table.view.clone(), storage: weights.storage, blocks: blocks(gemm), tile: gemm.tile };
        let (ours, theirs) = (&self.consts[id.0].bytes, &self.consts[table.id.0].bytes);
        let piece = gemm.tile.kr * weights.dtype.byte_size();
        let at = |row: usize, column: usize| {
            let group = column / gemm.tile.kr * gemm.tile.nr + row % gemm.tile.nr;
            let start = (row / gemm.tile.nr * gemm.groups() * gemm.tile.nr + group) * piece;
            &ours[start..start + piece]
        };
        let positions = (0..table.rows).flat_map(|row| (0..table.columns).step_by(gemm.tile.kr).map(move |c| (row, c)));
        let same = theirs.chunks_exact(piece).zip(positions).all(|(piece, (row, column))| piece == at(row, column));
        same.then_some(packed)
    }

    /// Drops the constants that no call reads any more.
    fn forget_unread(&mut self) {
        let mut read = vec![false; self.consts.len()];
        let consts = |call: &mut Call, each: &mut dyn FnMut(&mut ConstId)| {
            for view in &mut call.operands {
                if let Storage::Const(id) = &mut view.storage {
                    each(id);
                }
            }
        };
        self.calls.iter_mut().for_each(|call| consts(call, &mut |id| read[id.0] = true));
        let places: Vec<usize> =
            read.iter().scan(0, |next, is_read| Some(std::mem::replace(next, *next + usize::from(*is_read)))).collect();
        self.calls.iter_mut().for_each(|call| consts(call, &mut |id| *id = ConstId(places[id.0])));
        let mut is_read = read.into_iter();
        self.consts.retain(|_| is_read.next().unwrap_or(false));
        // Their numbers are others now.
        self.const_ids.clear();
    }
}

/// A constant that rows are taken from.
struct Table {
    id: ConstId,
    rows: usize,
    columns: usize,
    view: View,
}

/// Weights that hold a table.
struct Packed {
    /// The table as it was.
    view: View,
    storage: Storage,
    blocks: Blocks,
    tile: crate::program::Tile,
}

/// Where the rows of a product's weights lie.
fn blocks(gemm: &Gemm) -> Blocks {
    Blocks { size: gemm.tile.nr, distance: (gemm.groups() * gemm.tile.nr * gemm.tile.kr) as isize }
}

impl Packed {
    /// Has a call take its rows out of the weights.
    fn take_from(self, call: &mut Call) {
        let Packed { view, storage, blocks, tile } = self;
        let [rows, columns] = [view.grid.dims[0], view.grid.dims[1]];
        let dims = vec![rows, columns / tile.kr, tile.kr];
        let strides = [tile.kr, tile.kr * tile.nr, 1].map(|stride| stride as isize).to_vec();
        call.operands[0] = View { storage, grid: Grid { dims, strides }, ..view };
        call.producer = Gather { axis: 0, blocks: Some(blocks) }.into();
        let Grid { dims, strides } = &call.output.grid;
        let (count, row, step) = (dims[0], strides[0], strides[1]);
        call.output.grid =
            Grid { dims: vec![count, columns / tile.kr, tile.kr], strides: vec![row, step * tile.kr as isize, step] };
    }
}
