"""Writes models with If, Loop and Scan, and their inputs and outputs, to a folder: ONNX's own test cases, and some more
whose outputs ONNX Runtime computes."""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.backend.test.case.node import collect_testcases

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
value = helper.make_tensor_value_info


def write(folder, model, inputs, outputs):
    """Sequences and absent values are not numbers: the model alone is written."""
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    if all(isinstance(array, (np.ndarray, np.generic)) for array in [*inputs, *outputs]):
        for name, values, arrays in [("inputs", model.graph.input, inputs), ("outputs", model.graph.output, outputs)]:
            named = {info.name: np.asarray(array) for info, array in zip(values, arrays)}
            np.savez(folder / f"{name}.npz", **named)


def graph(name, nodes, inputs, outputs, initializers=()):
    return helper.make_graph(nodes, name, inputs, outputs, [onnx.numpy_helper.from_array(a, n) for n, a in initializers])


def own_models():
    """Name, opset, graph and inputs."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 4)).astype(np.float32)
    w = ("w", rng.standard_normal((4, 4)).astype(np.float32))
    node = helper.make_node

    def branch(name, op):
        return graph(name, [node("MatMul", ["x", "w"], ["m"]), node(op, ["m"], [f"{name}_y"])], [], [value(f"{name}_y", FLOAT, None)])

    choice = node("If", ["on"], ["y"], name="choice", then_branch=branch("a", "Relu"), else_branch=branch("b", "Neg"))
    inputs = [value("on", BOOL, []), value("x", FLOAT, [3, 4])]
    for on in (True, False):
        yield f"if_{on}", 17, graph("g", [choice], inputs, [value("y", FLOAT, None)], [w]), [np.array(on), x]

    # A condition in a branch of another, which reads what is around both.
    inner = node("If", ["other"], ["z"], name="inner", then_branch=branch("c", "Relu"), else_branch=branch("d", "Neg"))
    nested = graph("nested", [inner, node("Add", ["z", "sum"], ["n"])], [], [value("n", FLOAT, None)])
    outer = node("If", ["on"], ["y"], name="outer", then_branch=nested, else_branch=branch("e", "Abs"))
    nodes = [node("Add", ["x", "x"], ["sum"]), outer]
    inputs = [value("on", BOOL, [1]), value("other", BOOL, []), value("x", FLOAT, [3, 4])]
    for on, other in ((True, True), (True, False), (False, True)):
        arrays = [np.array([on]), np.array(other), x]
        yield f"nested_{on}_{other}", 17, graph("g", nodes, inputs, [value("y", FLOAT, None)], [w]), arrays

    # Doubles a vector until its sum is 40 or more.
    turn = graph(
        "turn",
        [
            node("Add", ["v", "v"], ["v2"]),
            node("ReduceSum", ["v2"], ["total"], keepdims=0),
            node("Less", ["total", "limit"], ["goes"]),
            node("Identity", ["v2"], ["slice"]),
        ],
        [value("i", INT, []), value("c", BOOL, []), value("v", FLOAT, [4])],
        [value("goes", BOOL, []), value("v2", FLOAT, [4]), value("slice", FLOAT, [4])],
    )
    loop = node("Loop", ["", "on", "v0"], ["y", "rows"], name="loop", body=turn)
    inputs = [value("on", BOOL, []), value("v0", FLOAT, [4])]
    outputs = [value("y", FLOAT, None), value("rows", FLOAT, None)]
    limit = [("limit", np.array(40, np.float32))]
    made = graph("g", [loop], inputs, outputs, limit)
    yield "while", 17, made, [np.array(True), np.array([1, 2, 3, 4], np.float32)]
    yield "never", 17, made, [np.array(False), np.array([1, 2, 3, 4], np.float32)]

    # A run-time trip count, and one that is known.
    count = graph(
        "count",
        [node("Cast", ["i"], ["f"], to=FLOAT), node("Add", ["v", "f"], ["v2"]), node("Identity", ["c"], ["c2"])],
        [value("i", INT, []), value("c", BOOL, []), value("v", FLOAT, [4])],
        [value("c2", BOOL, []), value("v2", FLOAT, [4]), value("v", FLOAT, [4])],
    )
    counted = node("Loop", ["n", "", "v0"], ["y", "rows"], name="counted", body=count)
    v0 = np.array([1, 2, 3, 4], np.float32)
    inputs = [value("n", INT, []), value("v0", FLOAT, [4])]
    yield "counted", 17, graph("g", [counted], inputs, outputs), [np.array(3), v0]
    yield "known", 17, graph("g", [counted], inputs[1:], outputs, [("n", np.array(5))]), [v0]
    for version in (1, 11, 13):
        made = graph("g", [counted], inputs[1:], outputs, [("n", np.array(2))])
        yield f"known_{version}", version if version > 1 else 8, made, [v0]

    # A recurrent cell from the last step to the first, with axes other than 0.
    cell = graph(
        "cell",
        [
            node("MatMul", ["h", "w"], ["m"]),
            node("Add", ["m", "s"], ["t"]),
            node("Tanh", ["t"], ["h2"]),
            node("Identity", ["h2"], ["o"]),
        ],
        [value("h", FLOAT, [2, 4]), value("s", FLOAT, [2, 4])],
        [value("h2", FLOAT, [2, 4]), value("o", FLOAT, [2, 4])],
    )
    attributes = {
        "scan_input_axes": [-2],
        "scan_input_directions": [1],
        "scan_output_axes": [-1],
        "scan_output_directions": [1],
    }
    sequence = rng.standard_normal((2, 5, 4)).astype(np.float32)
    inputs = [value("h0", FLOAT, [2, 4]), value("xs", FLOAT, [2, 5, 4])]
    arrays = [np.zeros((2, 4), np.float32), sequence]
    for name, more in (("backward", attributes), ("axis", {"scan_input_axes": [1]})):
        scan = node("Scan", ["h0", "xs"], ["y", "ys"], name="scan", num_scan_inputs=1, body=cell, **more)
        outputs = [value("y", FLOAT, None), value("ys", FLOAT, None)]
        yield name, 11, graph("g", [scan], inputs, outputs, [w]), arrays


def main():
    import onnxruntime

    folder = pathlib.Path(sys.argv[1])
    for case in collect_testcases(None):
        if case.name.startswith(("test_if", "test_loop", "test_scan_", "test_scan9")):
            inputs, outputs = case.data_sets[0]
            write(folder / case.name, case.model, inputs, outputs)
    for name, opset, made, arrays in own_models():
        version = helper.make_opsetid("", opset)
        model = helper.make_model(made, opset_imports=[version], ir_version=8 if opset > 8 else 3)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        feeds = {info.name: array for info, array in zip(session.get_inputs(), arrays)}
        write(folder / name, model, arrays, session.run(None, feeds))


main()
