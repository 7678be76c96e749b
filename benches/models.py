#!/usr/bin/env python3
"""Whole models against ONNX Runtime: speed in f32 and int8, outputs in f32, compile time and memory.

    models.py --eightfold PROGRAM --models FOLDER --networks FOLDER [--seconds 2] [NAME ...]

One thread, batch 1. All programs of a model take turns in short rounds of one process. The result is the median of the
thread's CPU time, which other work on the machine disturbs least. Inputs and calibration data are seeded noise, as only
time is measured; accuracy is measured elsewhere. f32 outputs are compared with ONNX Runtime's for the same inputs.
Quantized models need no calibration: ONNX Runtime runs the same file, and outputs are compared.

Prints a row per model, then the violated limits; exits with 1 if there are any.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import numpy as np

from artifact import Artifact, CompileFailure, compiled, seconds_to_compile
from forms import calibration_noise, inputs_of, with_constants
from reference import OnnxRuntime, quantize_static

# Name, whether it is a network with seeded weights, scale of the input noise (inputs as large as in training, as otherwise
# outputs are noise), and the maximum ratio of our f32 to ONNX Runtime's f32.
MODELS = [
    ("squeezenet1.1", False, 1.0, 1.5),
    ("mobilenetv2_1.0", False, 1.0, 1.5),
    ("resnet50", True, 1.0, 1.5),
    ("mlperf_resnet8_cifar10", False, 128.0, None),
    ("mlperf_vww_mobilenetv1", False, 1.0, None),
    ("mlperf_ad01_autoencoder", False, 1.0, None),
    ("mnist_cntk", False, 128.0, None),
    ("mnist_cnn_pytorch", False, 1.0, None),
    ("mnist_burn", False, 1.0, None),
    ("micro_kws_m_fp32", False, 1.0, None),
    ("ultraface_rfb320", False, 1.0, None),
    ("yolox_nano", False, 128.0, None),
    ("fastestdet", False, 1.0, None),
    ("resnet18", True, 1.0, None),
    ("resnet18_bn_dynbatch", True, 1.0, None),
    ("mobilenet_v2", True, 1.0, None),
    ("mobilenet_v3_large", True, 1.0, None),
    ("squeezenet1_1", True, 1.0, None),
    ("shufflenet_v2_x1_0", True, 1.0, None),
    ("efficientnet_b0", True, 1.0, None),
    ("densenet121", True, 1.0, None),
    ("inception_v3", True, 1.0, None),
]
# Quantized models.
QUANTIZED = [
    "micro_kws_m_qdq",
    "micro_kws_m_qoperator",
    "mlperf_resnet8_cifar10_int8_qdq",
    "mlperf_vww_mobilenetv1_int8_qdq",
    "mobilenet_v1_025_128_qat_qdq",
    "mobilenet_v2_tf_qat_qdq",
]
# Models for which ONNX Runtime's int8 is measured, too: the maximum ratio of our int8 to it.
INT8_LIMITS = {"resnet50": 1.6}
# The maximum ratio of our int8 to ONNX Runtime's f32: for runs of at least this many milliseconds, and for shorter ones.
INT8_OF_F32, SHORT_MS, INT8_OF_SHORT_F32 = 1.0, 0.05, 1.05
F32_ERROR = 1e-4
COMPILE_SECONDS, COMPILE_BYTES = 30.0, 2 << 30
COMPILE_LIMITED = "resnet50"
ROUNDS = 10


def medians(programs, seconds):
    """Median milliseconds of each, all taking turns. Not the minimum: the thread's clock jumps sometimes."""
    times = [[] for _ in programs]
    for _ in range(ROUNDS):
        for program, own in zip(programs, times):
            program.run()
            until = time.thread_time() + seconds / ROUNDS
            while True:
                start = time.thread_time()
                program.run()
                end = time.thread_time()
                own.append(end - start)
                if end > until:
                    break
    return [1e3 * float(np.median(own)) for own in times]


def distance(ours, theirs):
    """The largest difference of the outputs, as a share of the largest element."""
    pairs = [(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(ours.outputs, theirs.outputs)]
    return max(float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-30)) for a, b in pairs)


def measure(name, path, scale, f32_limit, options, folder):
    """The row of a model, and the limits that it violates."""
    constant = with_constants(path, folder)
    reference = OnnxRuntime(constant, inputs_of(constant, scale))
    noise = calibration_noise(reference.inputs, scale)
    calibration = folder / "calibration.npz"
    np.savez(calibration, **noise)
    f32_path, int8_path = folder / "f32.so", folder / "int8.so"
    f32_report, _ = compiled(options.eightfold, [path, "--precision", "f32"], f32_path)
    f32_seconds = seconds_to_compile(f32_report)
    int8_report, int8_bytes = compiled(
        options.eightfold, [path, "--precision", "int8", "--calibration-data", calibration], int8_path
    )
    int8_seconds = seconds_to_compile(int8_report)
    inputs = list(reference.inputs.values())
    f32 = Artifact(f32_path, inputs, reference.outputs)
    int8 = Artifact(int8_path, inputs, reference.outputs)
    programs = [reference, f32, int8]
    if name in INT8_LIMITS:
        quantized = folder / "quantized.onnx"
        quantize_static(constant, calibration, "MinMax", quantized, 1)
        programs.append(OnnxRuntime(quantized, reference.inputs))
    ort_ms, f32_ms, int8_ms, *ort_int8_ms = medians(programs, options.seconds)

    error = distance(f32, reference)
    int8_limit = INT8_OF_F32 if ort_ms >= SHORT_MS else INT8_OF_SHORT_F32
    missed = []

    def limit(what, got, most):
        if most is not None and not got <= most:
            missed.append(f"{name}: {what} {got:.3g}, at most {most:.3g} wanted")

    limit("error of f32 outputs", error, F32_ERROR)
    limit("int8 over ONNX Runtime f32", int8_ms / ort_ms, int8_limit)
    limit("f32 over ONNX Runtime f32", f32_ms / ort_ms, f32_limit)
    for theirs in ort_int8_ms:
        limit("int8 over ONNX Runtime int8", int8_ms / theirs, INT8_LIMITS[name])
    if name == COMPILE_LIMITED:
        limit("seconds to compile int8", int8_seconds, COMPILE_SECONDS)
        limit("GiB to compile int8", int8_bytes / 2**30, COMPILE_BYTES / 2**30)
    row = [
        name,
        f"{ort_ms:.3f}",
        f"{f32_ms:.3f}",
        f"{f32_ms / ort_ms:.2f}x",
        f"{int8_ms:.3f}",
        f"{int8_ms / ort_ms:.2f}x",
        f"{ort_int8_ms[0]:.3f}" if ort_int8_ms else "",
        f"{int8_ms / ort_int8_ms[0]:.2f}x" if ort_int8_ms else "",
        f"{error:.0e}",
        f"{f32_seconds:.1f}",
        f"{int8_seconds:.1f}",
        f"{int8_bytes / 2**20:.0f}",
    ]
    return row, missed


def measure_quantized(name, path, options, folder):
    """The row of a quantized model."""
    reference = OnnxRuntime(path, inputs_of(path, 1.0))
    report, peak = compiled(options.eightfold, [path, "--precision", "int8"], folder / "int8.so")
    int8 = Artifact(folder / "int8.so", list(reference.inputs.values()), reference.outputs)
    theirs_ms, ours_ms = medians([reference, int8], options.seconds)
    times = ["", "", "", f"{ours_ms:.3f}", "", f"{theirs_ms:.3f}", f"{ours_ms / theirs_ms:.2f}x"]
    error = f"{distance(int8, reference):.0e}"
    return [name, *times, error, "", f"{seconds_to_compile(report):.1f}", f"{peak / 2**20:.0f}"]


HEADER = "model,ORT f32,f32,ratio,int8,ratio,ORT int8,ratio,error,f32 s,int8 s,MiB".split(",")
WIDTHS = [-32, 8, 8, 6, 8, 6, 8, 6, 6, 6, 6, 5]


def line(cells):
    aligned = (cell.ljust(-width) if width < 0 else cell.rjust(width) for cell, width in zip(cells, WIDTHS))
    return "  ".join(aligned).rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--eightfold", type=pathlib.Path, required=True, metavar="PROGRAM")
    parser.add_argument("--models", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--networks", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time per program and model")
    options = parser.parse_args()
    known = [name for name, *_ in MODELS] + QUANTIZED
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; there are: {', '.join(known)}")

    print("milliseconds of a run, the median, one thread; error of f32 outputs, or of those of models that")
    print("came quantized, as a share of the largest; seconds to compile without calibration, and the most memory of it\n")
    print(line(HEADER), flush=True)
    missed = []
    folders = {False: options.models, True: options.networks}
    rows = [(name, folders[is_network], rest) for name, is_network, *rest in MODELS]
    for name, models, rest in rows + [(name, options.models, None) for name in QUANTIZED]:
        if options.names and name not in options.names:
            continue
        path = models / f"{name}.onnx"
        if not path.is_file():
            print(f"{name}: SKIPPED, no {path}", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            try:
                if rest is None:
                    row, of_model = measure_quantized(name, path, options, folder), []
                else:
                    row, of_model = measure(name, path, *rest, options, folder)
            except CompileFailure as failure:
                sys.exit(f"models.py: {failure}")
        print(line(row), flush=True)
        missed += of_model
    print()
    print("\n".join(f"missed: {what}" for what in missed) if missed else "all limits are met")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
