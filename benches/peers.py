#!/usr/bin/env python3
"""Measures Eightfold, ONNX Runtime and OpenVINO on whole models in one alternating run, and writes JSON.

    peers.py --eightfold PROGRAM --rates PROGRAM --forms FOLDER --output FILE.json [--seconds 2] [--threads 1,2] MODEL ...

Batch 1, f32 inputs and outputs: conversions are part of the time. Each program is a process (`worker.py`); all programs of
a model with the same number of threads take turns in short rounds. If a program is not available, the reason is recorded.
`cargo xtask peers` runs this script and prints its output as tables.
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import re
import select
import signal
import subprocess
import sys

import numpy as np

from artifact import CompileFailure
from forms import FormFailure, Forms, digest, size
from models import MODELS

HERE = pathlib.Path(__file__).parent
ROUND_SECONDS = 0.1
FEWEST_ROUNDS = 10
# Only a hanging program takes this long.
PATIENCE_SECONDS = 300
# Name, program, form, and precision of floats (None: the runtime's choice).
PEERS = [
    ("ORT f32", "onnxruntime", None, "f32"),
    ("ORT int8 QDQ", "onnxruntime", "qdq", None),
    ("ORT int8 QOperator", "onnxruntime", "qoperator", None),
    ("OpenVINO f32", "openvino", None, "f32"),
    ("OpenVINO bf16", "openvino", None, "bf16"),
    ("OpenVINO int8 NNCF", "openvino", "nncf", None),
    ("OpenVINO int8 QDQ", "openvino", "qdq", None),
]
PRECISIONS = ["f32", "bf16", "int8"]
# Models for which AVX2 code is measured, too, if the CPU has more.
AVX2, AVX2_MODELS, AVX2_PRECISIONS = "x86-64-v3", ["resnet50"], ["f32", "int8"]
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
SCALES = {name: scale for name, _, scale, _ in MODELS}
EXIT_USAGE, EXIT_UNSUPPORTED = 2, 3


class Worker:
    """A process that runs one program, and its times."""

    def __init__(self, record, program, model, forms, log, precision=None):
        self.record = record
        self.times = {"wall_ms": [], "cpu_ms": []}
        threads = record["threads"]
        command = [sys.executable, HERE / "worker.py", program, model, forms.inputs, forms.expected]
        command += ["--threads", threads] + (["--precision", precision] if precision else [])
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
        self.record.update(file_bytes=size(pathlib.Path(model)), status="ok")
        self.log = log
        self.private = [f"{pathlib.Path(path).parent}/" for path in (model, forms.folder / "any", HERE)]
        loaded = self.answer()
        if loaded:
            self.record.update(loaded)
        self.halt()

    def halt(self):
        """Stops the process until its next turn: its spinning threads would take CPU time from the next program."""
        self.process.send_signal(signal.SIGSTOP)

    def answer(self):
        """The process's answer; None if the process has died, which is recorded."""
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        if line:
            return json.loads(line)
        if not ready:
            self.process.kill()
        code = self.process.wait()
        status = "hung" if not ready else "crashed" if code < 0 else "failed"
        said = self.log.read_text(errors="replace").strip().splitlines()
        why = signal.Signals(-code).name if code < 0 else said[-1] if said else f"exit code {code}"
        for folder in self.private:  # A table that is shown around has no folders of this machine.
            why = why.replace(folder, "")
        self.record.update(status=status, why=why)
        return None

    def turn(self, seconds, counts):
        """Runs for `seconds`; returns the milliseconds of the longest run."""
        if self.record["status"] != "ok":
            return 0.0
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(f"{seconds}\n".encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # The answer that does not come says so.
        answer = self.answer()
        self.halt()
        if answer and counts:
            for clock, times in self.times.items():
                times += answer[clock]
        return max(answer["wall_ms"]) if answer else 0.0

    def end(self):
        """Ends the process and completes the record."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.close()
            self.process.wait()
        if self.record["status"] != "ok":
            return
        for clock, times in self.times.items():
            self.record[clock] = {
                "median": float(np.median(times)),
                "min": float(np.min(times)),
                "p99": float(np.percentile(times, 99)),
            }
        self.record["runs"] = len(self.times["wall_ms"])


def peer_workers(forms, threads, flags):
    """The available peers, loaded, and records of those that are not available."""
    for name, program, form, precision in PEERS:
        record = {"name": name, "maker": program, "precision": "int8" if form else precision, "threads": threads}
        if precision == "bf16" and not flags & BF16_FLAGS:
            continue
        try:
            path = forms.peer(form) if form else forms.float
        except FormFailure as failure:
            yield {**record, "status": failure.status, "why": failure.why}, None
            continue
        log = forms.folder / f"{name.replace(' ', '_')}_{threads}.log"
        worker = Worker(record, program, path, forms, log, precision)
        yield record, worker


def our_artifacts(forms, eightfold, threads):
    """Name, record and artifact (None if compilation fails) for each of our precisions."""
    wanted = [(f"Eightfold {precision}", precision, []) for precision in PRECISIONS]
    # The full range of weights, on CPUs where 8-bit products saturate and the peers' sums are wrong.
    wanted.append(("Eightfold int8 full range", "int8", ["--reduce-range=never"]))
    targets = set()
    while wanted:
        name, precision, options = wanted.pop(0)
        record = {"name": name, "maker": "eightfold", "precision": precision, "threads": threads}
        stem = name.removeprefix("Eightfold ").replace(" ", "_")
        options = ["--precision", precision, *options]
        try:
            try:
                if threads == 1:
                    raise Unthreaded
                made = forms.artifact(f"{stem}_{threads}", eightfold, [*options, "--threads", str(threads)])
            except (Unthreaded, CompileFailure) as failure:
                if isinstance(failure, CompileFailure) and failure.code != EXIT_USAGE:
                    raise
                # A compiler without --threads: its artifacts have one thread.
                made = forms.artifact(stem, eightfold, options)
                record["threads"] = 1
        except CompileFailure as failure:
            if failure.code == EXIT_USAGE and precision == "bf16":
                continue  # A compiler that knows no bf16.
            status = "unsupported" if failure.code in (EXIT_USAGE, EXIT_UNSUPPORTED) else "failed"
            yield {**record, "status": status, "why": failure.reason()}, None
            continue
        path, report = made
        if not options[2:] and report["target"] not in targets:
            targets.add(report["target"])
            if forms.model.stem in AVX2_MODELS and AVX2 not in targets:
                wanted += [(f"Eightfold {p} AVX2", p, ["--target", AVX2]) for p in AVX2_PRECISIONS]
        yield {**record, **report}, path


class Unthreaded(Exception):
    """Options for the number of threads; none for one thread."""


def measured(model, options, flags):
    """The record of a model."""
    forms = Forms(model, SCALES.get(model.stem, 1.0), options.forms / model.stem)
    record = {"name": model.stem, "peak_gmacs": peaks(options.rates), "groups": []}
    for threads in options.threads:
        records, workers = [], []
        for program, worker in peer_workers(forms, threads, flags):
            records.append(program)
            workers += [worker] if worker else []
        for program, path in our_artifacts(forms, options.eightfold, threads):
            records.append(program)
            if path:
                log = forms.folder / f"{program['name'].replace(' ', '_')}_{threads}.log"
                workers.append(Worker(program, "eightfold", path, forms, log))
        take_turns(workers, options.seconds)
        for worker in workers:
            worker.end()
        record["groups"].append({"threads": threads, "programs": records})
        for program in records:
            times = program.get("cpu_ms" if threads == 1 else "wall_ms")
            said = f"{times['median']:9.3f} ms" if times else f"{program['status']}: {program['why']}"
            print(f"{model.stem}, {threads}: {program['name']:20} {said}", file=sys.stderr, flush=True)
    record["macs"] = macs(options.eightfold, model)
    return record


def take_turns(workers, seconds):
    """Rounds until each program has run for `seconds`, or about as long if one run is longer than a round."""
    longest = max((worker.turn(ROUND_SECONDS, counts=False) for worker in workers), default=0.0)
    rounds = math.ceil(seconds / ROUND_SECONDS)
    rounds = max(min(rounds, FEWEST_ROUNDS), min(rounds, math.ceil(1e3 * seconds / max(longest, 1e-6))))
    for _ in range(rounds):
        for worker in workers:
            worker.turn(ROUND_SECONDS, counts=True)


def macs(eightfold, model):
    """Multiply-accumulates per inference; None if our importer does not support the model."""
    command = [str(eightfold), "inspect", str(model), "--format", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)["macs"] if done.returncode == 0 else None


def peaks(rates):
    """The current rate of the CPU's multiply-accumulate sequence, in GMAC/s."""
    found = {}
    for precision, words in (("int8", []), ("f32", ["f32"])):
        text = subprocess.run([rates, *words, "64", "64", "64"], check=True, stdout=subprocess.PIPE, text=True).stdout
        found[precision] = float(re.search(r"peak ([\d.]+) GMAC/s", text)[1])
    return found


def cpu():
    """The system's description of the first CPU, as a dictionary."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=pathlib.Path, metavar="MODEL")
    parser.add_argument("--eightfold", type=pathlib.Path, required=True, metavar="PROGRAM")
    parser.add_argument("--rates", type=pathlib.Path, required=True, metavar="PROGRAM")
    parser.add_argument("--forms", type=pathlib.Path, required=True, metavar="FOLDER", help="cache of the forms")
    parser.add_argument("--output", type=pathlib.Path, required=True, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time per program and model")
    parser.add_argument("--threads", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2])
    options = parser.parse_args()

    about = cpu()
    flags = set(about["flags"].split())
    known = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512vbmi", "avx512_vbmi", "avx512_bf16", "amx_int8")
    run = {
        "date": datetime.date.today().isoformat(),
        "cpu": {
            "name": about["model name"],
            "family": int(about["cpu family"]),
            "model": int(about["model"]),
            "count": len(os.sched_getaffinity(0)),
            "features": [flag for flag in known if flag in flags],
        },
        "versions": {name: importlib.metadata.version(name) for name in ("onnxruntime", "openvino", "nncf")},
        "compiler": digest(options.eightfold.read_bytes()),
        "seconds": options.seconds,
        "models": [],
    }
    # Partial results beside the requested file, as a run takes half an hour.
    partial = options.output.with_name(options.output.name + ".partial")
    for model in options.models:
        run["models"].append(measured(model, options, flags))
        partial.write_text(json.dumps(run, indent=1) + "\n")
    partial.replace(options.output)


if __name__ == "__main__":
    main()
