#!/usr/bin/env python3
"""Checks a refactoring: outputs must stay the same bytes, and nothing may become slower or larger.

    guard.py --eightfold PROGRAM --models FOLDER --networks FOLDER [--write] [NAME ...]
    guard.py --eightfold PROGRAM --models FOLDER --networks FOLDER --against OTHER [--seconds 2] [NAME ...]

The first form compiles every model in f32 and int8, for every target that this machine runs, for one thread and for two,
runs it on seeded inputs, and compares the SHA-256 of the outputs with `guard.tsv`. It exits with 1 if one differs. Sizes,
compile time and peak memory are compared only as geometric means, because the table was measured on another day and
perhaps on another machine. `--write` updates the rows of the named models.

The second form compiles with two builds in turns, and runs both alternately in one process. It prints the median times in
milliseconds, the least times of compilation in seconds, and the peak memory in bytes, each with its ratio.

Inputs and calibration data are noise: only changes of outputs matter, not their values.
"""

import argparse
import csv
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx

from artifact import Artifact, CompileFailure, compiled, seconds_to_compile
from models import MODELS, QUANTIZED, medians

TABLE = pathlib.Path(__file__).with_name("guard.tsv")
KEY = ["model", "precision", "target", "threads"]
FIGURES = ["code_bytes", "weight_bytes", "arena_bytes", "seconds", "peak_bytes"]
COLUMNS = [*KEY, "outputs", *FIGURES]
# Models in addition to the benchmark's: name, whether it is a network with seeded weights, scale of the noise.
OTHERS = [
    ("unet_256", True, 1.0),
    ("vit_tiny", True, 1.0),
    ("basic_pitch_nmp", False, 1.0),
    ("magika_standard_v3_3", False, 1.0),
    ("openseeface_lm0_unfused", False, 1.0),
    ("stories260k_llama", False, 1.0),
]
# Networks for the comparison of times.
TIMED = ["resnet50", "mobilenet_v2", "squeezenet1_1", "efficientnet_b0", "yolox_nano", "unet_256", "vit_tiny"]
DIMS = {"stories260k_llama": {"seq": 16}}
SAMPLES = 4

# Compilations by each build when two are compared.
COMPILATIONS = 2


def inputs_of(name, path, scale, samples):
    """`samples` samples of noise for the model's inputs, along the first axis. Integers are small and not negative."""
    model = onnx.load(path, load_external_data=False)
    weights = {initializer.name for initializer in model.graph.initializer}
    rng = np.random.default_rng(8)
    arrays = {}
    for value in model.graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        dims = DIMS.get(name, {})
        shape = [dim.dim_value or dims.get(dim.dim_param, 1) for dim in tensor.shape.dim]
        shape[0] *= samples
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if np.issubdtype(dtype, np.floating):
            arrays[value.name] = (scale * rng.standard_normal(shape)).astype(dtype)
        else:
            arrays[value.name] = rng.integers(0, 100, shape).astype(dtype)
    return arrays


class Case:
    """A model, its inputs and its calibration data, in a folder."""

    def __init__(self, name, path, scale, folder):
        self.name, self.path, self.folder = name, path, folder
        self.dims = [word for dim, size in DIMS.get(name, {}).items() for word in ("--dim", f"{dim}={size}")]
        self.inputs = inputs_of(name, path, scale, 1)
        np.savez(folder / "inputs.npz", **self.inputs)
        np.savez(folder / "calibration.npz", **inputs_of(name, path, scale, SAMPLES))

    def compile(self, eightfold, precision, target, threads, output):
        """The compiler's report and its peak memory."""
        options = ["--precision", precision, "--target", target, "--threads", str(threads), *self.dims]
        if precision == "int8" and self.name not in QUANTIZED:
            options += ["--calibration-data", self.folder / "calibration.npz"]
        return compiled(eightfold, [self.path, *options], output)

    def outputs(self, eightfold, artifact):
        """The artifact's outputs, by `run`."""
        command = [eightfold, "run", artifact, "--input", self.folder / "inputs.npz", "-o", self.folder / "outputs.npz"]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        arrays = np.load(self.folder / "outputs.npz")
        return [arrays[name] for name in arrays.files]

    def row(self, eightfold, precision, target, threads):
        """The row of the table."""
        artifact = self.folder / "guard.so"
        report, peak = self.compile(eightfold, precision, target, threads, artifact)
        digest = hashlib.sha256()
        for array in self.outputs(eightfold, artifact):
            digest.update(array.tobytes())
        return {
            "model": self.name,
            "precision": precision,
            "target": target,
            "threads": str(threads),
            "outputs": digest.hexdigest(),
            "code_bytes": str(report["code_bytes"]),
            "weight_bytes": str(report["weight_bytes"]),
            "arena_bytes": str(report["arena_bytes"]),
            "seconds": f"{seconds_to_compile(report):.2f}",
            "peak_bytes": str(peak),
        }


def targets(eightfold):
    """The names of the targets that this machine supports."""
    listed = subprocess.run([eightfold, "list", "targets", "--format", "json"], check=True, capture_output=True)
    return [row["name"] for row in json.loads(listed.stdout) if row["runs_here"]]


def cases(options, names, folder):
    """The named models that exist."""
    rows = [(name, network, scale) for name, network, scale, _ in MODELS]
    rows += [(name, False, 1.0) for name in QUANTIZED] + OTHERS
    for name, network, scale in rows:
        if name not in names:
            continue
        path = (options.networks if network else options.models) / f"{name}.onnx"
        if path.is_file():
            yield Case(name, path, scale, folder)
        else:
            print(f"{name}: SKIPPED, no {path}", flush=True)


def key(row):
    return tuple(row[name] for name in KEY)


def mean_ratio(pairs):
    """The geometric mean of new over old; 1 if there is nothing to compare."""
    logs = [np.log(float(new) / float(old)) for new, old in pairs if float(old) > 0 and float(new) > 0]
    return float(np.exp(np.mean(logs))) if logs else 1.0


def guard(options, names):
    """Compares with the table, or updates it. Returns whether all outputs equal the table's."""
    with open(TABLE, newline="") as file:
        table = {key(row): row for row in csv.DictReader(file, delimiter="\t")}
    differing, unknown, pairs = 0, 0, {figure: [] for figure in FIGURES}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(options, names, pathlib.Path(folder)):
            for precision in ["int8"] if case.name in QUANTIZED else ["f32", "int8"]:
                for target in targets(options.eightfold):
                    for threads in [1, 2]:
                        row = case.row(options.eightfold, precision, target, threads)
                        before = table.get(key(row))
                        if before is None:
                            said, unknown = "new", unknown + 1
                        elif before["outputs"] == row["outputs"]:
                            said = "same"
                        else:
                            said, differing = "DIFFERS", differing + 1
                        for figure in FIGURES if before else []:
                            pairs[figure].append((row[figure], before[figure]))
                        print(f"{case.name:28} {precision:5} {target:12} {threads}  {said}", flush=True)
                        if options.write:
                            table[key(row)] = row
    if options.write:
        with open(TABLE, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerows(table[row] for row in sorted(table))
    for figure in FIGURES:
        print(f"{figure}: {mean_ratio(pairs[figure]):.3f} of the table's, geometric mean of {len(pairs[figure])}")
    print(f"{differing} outputs differ, {unknown} are not in the table")
    return differing == 0 and (unknown == 0 or options.write)


def compare_times(options, names):
    """Prints times of two builds, run alternately: of the model, and of its compilation, with its peak memory."""
    builds = [options.against, options.eightfold]
    ratios = {"run": [], "compile": [], "memory": []}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for case in cases(options, names, folder):
            for precision in ["f32", "int8"]:
                artifacts = [folder / f"{case.name}.{precision}.{place}.so" for place in range(2)]
                seconds, peaks = [[], []], [[], []]
                for place in [0, 1] * COMPILATIONS:
                    report, peak = case.compile(builds[place], precision, "native", 1, artifacts[place])
                    seconds[place].append(seconds_to_compile(report))
                    peaks[place].append(peak)
                programs = [
                    Artifact(artifact, list(case.inputs.values()), case.outputs(eightfold, artifact))
                    for artifact, eightfold in zip(artifacts, builds)
                ]
                before, after = medians(programs, options.seconds)
                figures = {"run": [before, after], "compile": map(min, seconds), "memory": map(min, peaks)}
                figures = {name: [float(figure) for figure in pair] for name, pair in figures.items()}
                texts = [f"{name} {old:12.3f} {new:12.3f} {new / old:.3f}" for name, (old, new) in figures.items()]
                print(f"{case.name:24} {precision:5} {'  '.join(texts)}", flush=True)
                for name, (old, new) in figures.items():
                    ratios[name].append((new, old))
    for name, pairs in ratios.items():
        print(f"{name}: geometric mean {mean_ratio(pairs):.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--eightfold", type=pathlib.Path, required=True, metavar="PROGRAM")
    parser.add_argument("--models", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--networks", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--write", action="store_true", help="update the table")
    parser.add_argument("--against", type=pathlib.Path, metavar="PROGRAM", help="another build, to compare times with")
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time per build and model")
    options = parser.parse_args()
    known = [name for name, *_ in MODELS] + QUANTIZED + [name for name, *_ in OTHERS]
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; there are: {', '.join(known)}")
    try:
        if options.against:
            compare_times(options, options.names or TIMED)
        elif not guard(options, options.names or known):
            sys.exit(1)
    except CompileFailure as failure:
        sys.exit(f"guard.py: {failure}")


if __name__ == "__main__":
    main()
