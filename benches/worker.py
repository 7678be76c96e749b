#!/usr/bin/env python3
"""Runs one program on one model, in turns. It is a process, so that a crash affects only one cell of the table.

    worker.py eightfold|onnxruntime|openvino MODEL INPUTS.npz EXPECTED.npz --threads N [--precision f32|bf16]

Loads, then prints a line of JSON: {"load_ms", "load_excess_cpu_ms", "peak_bytes", "model_bytes", "cosine"}. For each
line `SECONDS` of its input, it runs for that long and prints {"wall_ms": [...], "cpu_ms": [...]} with a figure per run.
It ends at the end of its input.

`load_ms` is the time from the file to the first result, with the libraries already loaded. `load_excess_cpu_ms` is the CPU
time of that minus the CPU time of an immediately following run; for Eightfold it is the median of several processes that
each load again, because a single process is too noisy on a busy machine. `peak_bytes` is the process's peak memory,
including Python and libraries; `model_bytes` is the part that loading and running added. `cosine` is the similarity of the
outputs to the expected ones. `cpu_ms` is the time of all threads of the process.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys
import time

import numpy as np

PROGRAMS = {
    "eightfold": ("artifact", "Artifact"),
    "onnxruntime": ("reference", "OnnxRuntime"),
    "openvino": ("open_vino", "OpenVino"),
}
SETTLED_RUNS = 5
LOADS = 7


def memory(field):
    """A memory figure of this process in bytes: VmRSS (current) or VmHWM (peak)."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"the system says no {field}")


def forget_peak():
    """Resets VmHWM to the current memory."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def cosine(outputs, expected):
    """Cosine of the angle between all outputs and the expected ones, as one vector each."""
    a, b = (np.concatenate([np.ravel(array).astype(np.float64) for array in arrays]) for arrays in (outputs, expected))
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-300))


def turn(program, seconds, fewest=1):
    """Times of runs; the first is not counted, because other programs have used the caches."""
    program.run()
    walls, cpus = [], []
    until = time.perf_counter() + seconds
    while True:
        wall, cpu = time.perf_counter(), time.process_time()
        program.run()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        walls.append(1e3 * wall)
        cpus.append(1e3 * cpu)
        if time.perf_counter() > until and len(walls) >= fewest:
            return {"wall_ms": walls, "cpu_ms": cpus}


def load(make):
    """Loads a program; returns it, the load's wall and CPU milliseconds, and the latter's excess over a next run."""
    wall, cpu = time.perf_counter(), time.process_time()
    program = make()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    # Immediately, because the machine's speed may change before the next turn.
    settled = float(np.median(turn(program, 0.0, SETTLED_RUNS)["cpu_ms"]))
    return program, 1e3 * wall, 1e3 * cpu - settled


def excess_elsewhere(make):
    """CPU time of a load in excess of a run, measured in a separate process."""
    end, start = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(start, json.dumps(load(make)[2]).encode())
        finally:
            os._exit(0)
    os.close(start)
    os.waitpid(child, 0)
    with os.fdopen(end) as answer:
        return json.load(answer)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("model")
    parser.add_argument("inputs")
    parser.add_argument("expected")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["f32", "bf16"])
    options = parser.parse_args()

    # Libraries must not print between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[-options.threads :])

    inputs, expected = (dict(np.load(path)) for path in (options.inputs, options.expected))
    module, name = PROGRAMS[options.program]
    make = getattr(importlib.import_module(module), name)
    if options.program == "eightfold":
        arguments = [list(inputs.values()), list(expected.values())]
    elif options.program == "onnxruntime":
        arguments = [inputs, options.threads]
    else:
        arguments = [inputs, options.threads, options.precision]
    again = lambda: make(options.model, *arguments)
    # The peers' threads do not survive a fork.
    loads = LOADS if options.program == "eightfold" else 0
    excesses = [excess_elsewhere(again) for _ in range(loads)]
    before, libraries = memory("VmRSS"), memory("VmHWM")
    forget_peak()
    program, wall, excess = load(again)
    peak = memory("VmHWM")
    likeness = cosine(program.outputs, expected.values())

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    answer({
        "load_ms": wall,
        "load_excess_cpu_ms": float(np.median([*excesses, excess])),
        "peak_bytes": max(peak, libraries),
        "model_bytes": peak - before,
        "cosine": likeness,
    })
    for line in sys.stdin:
        answer(turn(program, float(line)))


if __name__ == "__main__":
    main()
