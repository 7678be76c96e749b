#!/usr/bin/env python3
"""Runs a model in ONNX Runtime, the reference of tests and benchmarks.

    reference.py MODEL.onnx --inputs IN.npz --outputs OUT.npz [--batch 1] [--tensor NAME ... | --all-tensors]
    reference.py MODEL.onnx [--inputs IN.npz] --bench SECONDS
    reference.py MODEL.onnx --quantize static --calibration CAL.npz --outputs QDQ.onnx [--method MinMax|Entropy|Percentile]

By default one thread and all of ONNX Runtime's graph optimizations. An .npz holds one array per input, samples along the
first axis; arrays that are not inputs of the model (`labels`) are ignored. Each run takes `--batch` samples (0: all arrays
unchanged, in one run), and outputs are concatenated along the first axis. A benchmark runs the first batch; without
--inputs it uses seeded random inputs, with 1 for symbolic dimensions.

--tensor adds intermediate values as outputs, for comparison layer by layer, and turns off the optimizations that would
change them, unless --optimization is given.
--bench prints JSON: {"latency_ms": {"median", "min", "p99"}, "runs", "threads", "runtime"}.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort

OPTIMIZATIONS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
WARM_UP_SECONDS = 0.2


def session(model, optimization, threads):
    """A session for the path or the bytes of a model."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = OPTIMIZATIONS[optimization]
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def with_tensors(path, names):
    """The model's bytes with the named values (None: all nodes' outputs) as additional graph outputs."""
    model = onnx.load(path)
    outputs = {value.name for value in model.graph.output}
    wanted = names if names is not None else [o for node in model.graph.node for o in node.output if o]
    for name in wanted:
        if name not in outputs:
            model.graph.output.append(onnx.ValueInfoProto(name=name))  # the runtime infers the type
            outputs.add(name)
    return model.SerializeToString()


def load_inputs(path, model_session):
    """The arrays of the .npz that are inputs of the model; an error lists missing ones."""
    arrays = np.load(path)
    names = [i.name for i in model_session.get_inputs()]
    missing = [n for n in names if n not in arrays]
    if missing:
        sys.exit(f"reference.py: {path} has no array for input {', '.join(missing)}; it has {', '.join(arrays.files)}")
    return {n: arrays[n] for n in names}


def random_inputs(model_session, seed=0):
    """Seeded inputs of the declared shapes: standard normal floats, uniform bytes, zeros for wider integers."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for value in model_session.get_inputs():
        shape = [d if isinstance(d, int) else 1 for d in value.shape]
        dtype = np.dtype(DTYPES[value.type])
        if dtype.kind == "f":
            inputs[value.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype.itemsize == 1 and dtype.kind in "iu":
            limits = np.iinfo(dtype)
            inputs[value.name] = rng.integers(limits.min, limits.max + 1, shape, dtype)
        else:
            inputs[value.name] = np.zeros(shape, dtype)
    return inputs


def run(model_session, inputs, batch):
    """The outputs by name, over all samples."""
    names = [o.name for o in model_session.get_outputs()]
    if batch == 0:
        return dict(zip(names, model_session.run(names, inputs)))
    samples = {len(a) for a in inputs.values()}
    if len(samples) != 1:
        sys.exit(f"reference.py: inputs differ in their number of samples: {sorted(samples)}")
    parts = []
    for start in range(0, samples.pop(), batch):
        parts.append(model_session.run(names, {n: a[start : start + batch] for n, a in inputs.items()}))
    return {n: np.concatenate([np.atleast_1d(p[i]) for p in parts]) for i, n in enumerate(names)}


def bench(model_session, inputs, seconds):
    """Milliseconds of each run in order, after a warm-up."""
    names = [o.name for o in model_session.get_outputs()]
    until = time.perf_counter() + min(WARM_UP_SECONDS, seconds)
    model_session.run(names, inputs)
    while time.perf_counter() < until:
        model_session.run(names, inputs)
    times = []
    until = time.perf_counter() + seconds
    while not times or time.perf_counter() < until:
        start = time.perf_counter_ns()
        model_session.run(names, inputs)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times


class OnnxRuntime:
    """A session that runs on fixed inputs into its own buffers, which avoids copies. The constructor runs it once."""

    def __init__(self, path, inputs, threads=1):
        self.session = session(str(path), "all", threads)
        self.inputs = inputs
        self.binding = self.session.io_binding()
        for name, array in inputs.items():
            self.binding.bind_cpu_input(name, array)
        names = [output.name for output in self.session.get_outputs()]
        for name in names:
            self.binding.bind_output(name)
        self.run()
        # Later runs write to the memory that the first run allocated.
        values = self.binding.get_outputs()
        self.binding.clear_binding_outputs()
        for name, value in zip(names, values):
            self.binding.bind_ortvalue_output(name, value)
        self.outputs = [value.numpy() for value in values]

    def run(self):
        self.session.run_with_iobinding(self.binding)


def quantize_static(path, calibration, method, output, batch, form="QDQ", reduce_range=False):
    """Quantizes statically with ONNX Runtime: per-channel i8 weights, u8 activations; Q/DQ or QOperator.

    With `reduce_range` weights take seven bits, so that no sum of two products saturates at 16.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from onnxruntime.quantization.shape_inference import quant_pre_process

    inputs = load_inputs(calibration, session(str(path), "all", 1))

    class Samples(CalibrationDataReader):
        def __init__(self):
            self.start = 0

        def get_next(self):
            part = {n: a[self.start : self.start + batch] for n, a in inputs.items()}
            self.start += batch
            return part if all(len(a) for a in part.values()) else None

    with tempfile.TemporaryDirectory() as folder:
        prepared = pathlib.Path(folder) / "prepared.onnx"
        # Symbolic shape inference fails on some models; only folding and batch norm fusion matter here.
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(output),
            Samples(),
            quant_format=QuantFormat[form],
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod[method],
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--inputs", type=pathlib.Path)
    parser.add_argument("--outputs", type=pathlib.Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tensor", action="append")
    parser.add_argument("--all-tensors", action="store_true")
    parser.add_argument("--optimization", choices=OPTIMIZATIONS)
    parser.add_argument("--bench", type=float, metavar="SECONDS")
    parser.add_argument("--quantize", choices=["static"])
    parser.add_argument("--calibration", type=pathlib.Path)
    parser.add_argument("--method", choices=["MinMax", "Entropy", "Percentile"], default="MinMax")
    args = parser.parse_args()

    if args.quantize:
        if not args.calibration or not args.outputs:
            parser.error("--quantize needs --calibration and --outputs")
        quantize_static(args.model, args.calibration, args.method, args.outputs, max(args.batch, 1))
        return

    if args.tensor or args.all_tensors:
        model = with_tensors(args.model, None if args.all_tensors else args.tensor)
        model_session = session(model, args.optimization or "none", args.threads)
    else:
        model_session = session(str(args.model), args.optimization or "all", args.threads)

    if args.bench is not None:
        inputs = load_inputs(args.inputs, model_session) if args.inputs else random_inputs(model_session)
        if args.inputs and args.batch:
            inputs = {n: a[: args.batch] for n, a in inputs.items()}
        times = bench(model_session, inputs, args.bench)
        figures = {"median": np.median(times), "min": np.min(times), "p99": np.percentile(times, 99)}
        report = {
            "latency_ms": {k: round(float(v), 6) for k, v in figures.items()},
            "runs": len(times),
            "threads": args.threads,
            "runtime": f"onnxruntime {ort.__version__}",
        }
        print(json.dumps(report))
        return

    if not args.inputs or not args.outputs:
        parser.error("give --inputs and --outputs, or --bench, or --quantize")
    outputs = run(model_session, load_inputs(args.inputs, model_session), args.batch)
    partial = args.outputs.with_name(args.outputs.name + ".partial")
    with open(partial, "wb") as file:
        np.savez(file, **outputs)
    os.replace(partial, args.outputs)


if __name__ == "__main__":
    main()
