//! Tests the rules of `canonicalize`, constant folding, common subexpressions and dead code elimination.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::concat::Concat;
use eightfold_ir::op::expand::Expand;
use eightfold_ir::op::pool::{Pool, PoolKind};
use eightfold_ir::op::reshape::Reshape;
use eightfold_ir::op::slice::Slice;
use eightfold_ir::op::transpose::Transpose;
use eightfold_ir::{Arg, DType, Function, Step};
use eightfold_passes::PassOptions;

use crate::net::{Net, difference, padded, run, shape_of};

fn check(build: impl Fn(&mut Net), passes: &[&str], expected: &str) -> eightfold_ir::Graph {
    let mut net = Net::new("case");
    build(&mut net);
    let (after, _) = run(&net.graph, passes, &PassOptions::default());
    assert_eq!(shape_of(&after), expected);
    assert_eq!(difference(&net.graph, &after), 0.0);
    after
}

#[test]
fn operators_that_do_nothing_go_away() {
    let build = |n: &mut Net| {
        let x = n.input("x", &[1, 4, 6, 6]);
        let mut v = n.conv("conv", x, &[4, 4, 1, 1], padded(0));
        v = n.add("reshape", Reshape { shape: Sizes::from_slice(&[1, 4, 6, 6]) }, &[v]);
        v = n.add("transpose", Transpose { perm: Sizes::from_slice(&[0, 1, 2, 3]) }, &[v]);
        let slice = Slice {
            starts: Sizes::from_slice(&[0; 4]),
            sizes: Sizes::from_slice(&[1, 4, 6, 6]),
            steps: Default::default(),
        };
        v = n.add("slice", slice, &[v]);
        v = n.add("concat", Concat { axis: 1 }, &[v]);
        v = n.map("cast", v, vec![Step::Cast(DType::F32)]);
        let one = n.constant(&[1, 1], &[1.0]);
        v = n.map("mul", v, vec![Step::binary(Function::Mul, Arg::Value(one))]);
        let r = n.map("relu", v, vec![Step::unary(Function::Relu)]);
        n.output(r);
    };
    check(build, &["canonicalize"], "conv+0 map+1");
}

#[test]
fn adding_zero_stays_since_it_turns_minus_zero_into_zero() {
    let build = |n: &mut Net| {
        let x = n.input("x", &[4]);
        let y = n.map("add", x, vec![Step::binary(Function::Add, Arg::Float(0.0))]);
        let z = n.map("sub", y, vec![Step::binary(Function::Sub, Arg::Float(0.0))]);
        n.output(z);
    };
    check(build, &["canonicalize"], "map+1");
}

#[test]
fn an_output_that_shows_an_input_keeps_its_copy() {
    let build = |n: &mut Net| {
        let x = n.input("x", &[4]);
        let y = n.map("identity", x, vec![]);
        n.output(y);
    };
    check(build, &["canonicalize"], "map+0");
}

#[test]
fn the_operand_of_a_map_has_the_shape_of_its_result() {
    let build = |n: &mut Net| {
        let (x, s) = (n.input("x", &[1, 4, 6, 6]), n.input("s", &[4, 1, 1]));
        let c = n.random(&[1, 4, 6, 6]);
        let a = n.map("sub", s, vec![Step::binary(Function::Sub, Arg::Value(x))]);
        let b = n.map("div", c, vec![Step::binary(Function::Div, Arg::Value(a))]);
        n.output(b);
    };
    let after = check(build, &["canonicalize"], "map+1 map+1");
    for node in after.nodes() {
        let x = node.operand(0).unwrap();
        assert!(after.constant(x).is_none());
        assert_eq!(after.ty(x).shape, after.ty(node.output()).shape);
    }
}

#[test]
fn a_constant_that_is_one_number_becomes_a_literal() {
    let build = |n: &mut Net| {
        let x = n.input("x", &[1, 4, 6, 6]);
        let c = n.constant(&[4, 1, 1], &[0.5; 4]);
        let y = n.map("mul", x, vec![Step::binary(Function::Mul, Arg::Value(c))]);
        n.output(y);
    };
    let after = check(build, &["canonicalize"], "map+1");
    let node = after.nodes().next().unwrap();
    assert_eq!(node.epilogue.steps[0], Step::binary(Function::Mul, Arg::Float(0.5)));
}

#[test]
fn a_pool_over_the_whole_image_is_a_reduction() {
    let build = |n: &mut Net| {
        let x = n.input("x", &[2, 4, 5, 6]);
        let pool = Pool {
            kind: PoolKind::Average,
            kernel: Sizes::from_slice(&[5, 6]),
            pads: Sizes::new(),
            strides: Sizes::from_slice(&[2, 2]),
            dilations: Sizes::new(),
            ceil: false,
            count_include_pad: false,
        };
        let y = n.add("pool", pool, &[x]);
        n.output(y);
    };
    check(build, &["canonicalize"], "reduce+0");
}

#[test]
fn weights_lose_their_batch_axes() {
    let build = |n: &mut Net| {
        let x = n.input("x", &[2, 3, 4]);
        let y = n.matmul("matmul", x, &[1, 4, 5]);
        n.output(y);
    };
    let after = check(build, &["canonicalize", "eliminate_dead"], "matmul+0");
    assert_eq!(after.ty(after.nodes().next().unwrap().operand(1).unwrap()).shape[..], [4, 5]);
}

#[test]
fn constants_fold_but_do_not_grow_without_bound() {
    let build = |n: &mut Net| {
        let x = n.input("x", &[1000, 300]);
        let a = n.random(&[300]);
        let b = n.map("exp", a, vec![Step::unary(Function::Exp)]);
        let e = n.add("expand", Expand { shape: Sizes::from_slice(&[1000, 300]) }, &[b]);
        let y = n.map("mul", x, vec![Step::binary(Function::Mul, Arg::Value(e))]);
        n.output(y);
    };
    check(build, &["fold_constants"], "expand+0 map+1");
}

#[test]
fn equal_nodes_and_equal_constants_become_one() {
    let build = |n: &mut Net| {
        let x = n.input("x", &[2, 3]);
        let (a, b) = (n.constant(&[3], &[1.0, 2.0, 3.0]), n.constant(&[3], &[1.0, 2.0, 3.0]));
        let p = n.map("p", x, vec![Step::binary(Function::Mul, Arg::Value(a))]);
        let q = n.map("q", x, vec![Step::binary(Function::Mul, Arg::Value(b))]);
        let y = n.map("y", p, vec![Step::binary(Function::Add, Arg::Value(q))]);
        n.output(y);
    };
    let after = check(build, &["common_subexpressions", "eliminate_dead"], "map+1 map+1");
    assert_eq!(after.values().filter(|(id, _)| after.constant(*id).is_some()).count(), 1);
}

#[test]
fn unread_nodes_go_away() {
    let build = |n: &mut Net| {
        let x = n.input("x", &[2, 3]);
        let y = n.map("y", x, vec![Step::unary(Function::Relu)]);
        n.map("unread", y, vec![Step::unary(Function::Exp)]);
        n.output(y);
    };
    check(build, &["eliminate_dead"], "map+1");
}

#[test]
fn the_limit_stops_all_passes() {
    let mut net = Net::new("limit");
    let x = net.input("x", &[2, 3]);
    let mut v = x;
    for i in 0..4 {
        v = net.map(&format!("n{i}"), v, vec![Step::unary(Function::Relu)]);
    }
    net.output(v);
    let nodes = |limit| {
        let options = PassOptions { limit, ..PassOptions::default() };
        run(&net.graph, &["canonicalize", "fuse", "eliminate_dead"], &options).0.node_count()
    };
    assert_eq!((nodes(Some(0)), nodes(Some(1)), nodes(None)), (4, 3, 1));
}
