"""Eightfold in the benchmarks: compiles a model and runs the artifact through its C interface."""

import ctypes
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np


class Runtime(ctypes.Structure):
    """The first fields of `eightfold_runtime`; see eightfold.h."""

    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("abi_version", ctypes.c_uint32),
        ("select", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32))),
        ("session_size", ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_uint32)),
        (
            "session_create_in",
            ctypes.CFUNCTYPE(
                ctypes.c_int,
                ctypes.c_void_p,
                ctypes.c_uint32,
                ctypes.c_void_p,
                ctypes.c_size_t,
                ctypes.POINTER(ctypes.c_void_p),
            ),
        ),
        ("session_run", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)),
        ("status_message", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int)),
        ("session_destroy", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    ]


class Model(ctypes.Structure):
    """`eightfold_model`."""

    _fields_ = [
        ("abi_version", ctypes.c_uint32),
        ("struct_size", ctypes.c_uint32),
        ("name", ctypes.c_char_p),
        ("provenance", ctypes.c_char_p),
        ("variant_count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("variants", ctypes.c_void_p),
        ("runtime", ctypes.POINTER(Runtime)),
    ]


class Artifact:
    """A compiled model that runs on fixed inputs into its own buffers. The constructor runs it once."""

    def __init__(self, path, inputs, like):
        self.inputs = [np.ascontiguousarray(array) for array in inputs]
        self.outputs = [np.empty_like(array) for array in like]
        library = ctypes.CDLL(str(path))
        library.model_query.restype = ctypes.POINTER(Model)
        model = library.model_query()
        self.runtime = model.contents.runtime.contents
        variant, self.session = ctypes.c_uint32(0), ctypes.c_void_p()
        checked(self.runtime.select(model, variant))
        size = self.runtime.session_size(model, variant)
        self.memory = ctypes.create_string_buffer(size)
        checked(self.runtime.session_create_in(model, variant, self.memory, size, self.session))
        addresses = lambda arrays: (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        self.arguments = addresses(self.inputs), addresses(self.outputs)
        self.run()

    def run(self):
        checked(self.runtime.session_run(self.session, *self.arguments))

    def __del__(self):
        # The session's threads use the memory that is freed next.
        if getattr(self, "session", None):
            self.runtime.session_destroy(self.session)


def checked(status):
    if status != 0:
        raise RuntimeError(f"status {status} of the compiled model")


class CompileFailure(Exception):
    """A failed compilation: exit code and message."""

    def __init__(self, command, code, said):
        super().__init__(f"{' '.join(command)}: exit code {code}\n{said}")
        self.code = code
        self.said = said

    def reason(self):
        """The compiler's reason, as one line."""
        lines = [line.strip() for line in self.said.splitlines()]
        causes = [line.removeprefix("caused by: ") for line in lines if line.startswith("caused by: ")]
        return (causes or lines or ["no reason given"])[-1]


def compiled(eightfold, arguments, output):
    """Compiles a model; returns the compiler's report and its peak memory in bytes."""
    command = [str(word) for word in [eightfold, "compile", *arguments]]
    command += ["-o", str(output), "--name", "model", "--format", "json"]
    with tempfile.TemporaryFile() as report, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=report, stderr=said)
        peak = 0
        while process.poll() is None:
            # The system's figure for a child process includes the parent's memory.
            peak = max(peak, held(process.pid))
            time.sleep(0.02)
        if process.returncode != 0:
            said.seek(0)
            raise CompileFailure(command, process.returncode, said.read().decode(errors="replace").strip())
        report.seek(0)
        return json.load(report), peak


def held(process):
    """Peak memory of the process so far, in bytes."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(lines[0][1]) if lines else 0


def seconds_to_compile(report):
    """Seconds of all stages except calibration, whose time depends on the data."""
    return sum(seconds for stage, seconds in report["stage_seconds"] if stage != "calibrating")
