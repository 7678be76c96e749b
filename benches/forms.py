#!/usr/bin/env python3
"""Makes and caches what the benchmarks run: noise inputs, quantized models, compiled artifacts.

    forms.py FORM MODEL.onnx CALIBRATION.npz OUTPUT

FORM is `qdq` or `qoperator` (ONNX Runtime's static quantization) or `nncf` (OpenVINO's, an .xml with its .bin). A form
is made in its own process, because quantizers can crash. It is cached with a key, which identifies its sources and the
program that made it, and made again if the key changes.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnx.version_converter

from artifact import compiled, seconds_to_compile
from reference import OnnxRuntime, load_inputs, quantize_static, random_inputs, session

CALIBRATION_SAMPLES = 4
# The first versions of the format with per-channel scales, and with initializers that are not inputs.
AXES_OPSET, CONSTANTS_IR_VERSION = 13, 4
HERE = pathlib.Path(__file__).parent
# The packages that make the peers' forms: another version may make another model.
MAKERS = [HERE / name for name in ("forms.py", "reference.py", "requirements.txt", "requirements-peers.txt")]
SUFFIXES = {"qdq": ".onnx", "qoperator": ".onnx", "nncf": ".xml"}


def inputs_of(path, scale):
    """Seeded standard normal noise for the model's inputs, times `scale`."""
    drawn = random_inputs(session(str(path), "all", 1))
    return {name: (scale * array).astype(array.dtype) for name, array in drawn.items()}


def calibration_noise(inputs, scale):
    """Calibration samples, along the first axis of an array per input: noise, as only time is measured."""
    rng = np.random.default_rng(1)
    shape = lambda array: (CALIBRATION_SAMPLES, *array.shape[1:])
    return {name: (scale * rng.standard_normal(shape(a))).astype(a.dtype) for name, a in inputs.items()}


class Forms:
    """The forms of one model, cached in a folder."""

    def __init__(self, model, scale, folder):
        self.model = model
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.inputs, self.expected = folder / "inputs.npz", folder / "expected.npz"
        self.calibration = folder / "calibration.npz"
        reference = OnnxRuntime(model, inputs_of(model, scale))
        np.savez(self.inputs, **reference.inputs)
        # Named by index: an output's name may not be a valid file name.
        np.savez(self.expected, **{f"{place:03}": array for place, array in enumerate(reference.outputs)})
        np.savez(self.calibration, **calibration_noise(reference.inputs, scale))
        self.float = with_constants(model, folder)  # What peers are given.
        noise = np.load(self.calibration)  # The archive itself has the time in it.
        self.content = [digest(model.read_bytes()), *(digest(noise[name].tobytes()) for name in noise.files)]

    def peer(self, form):
        """A model quantized by a peer. Raises `FormFailure`."""
        output = self.folder / (form + SUFFIXES[form])
        key = [*self.content, *(digest(maker.read_bytes()) for maker in MAKERS)]

        def make():
            command = [sys.executable, HERE / "forms.py", form, self.float, self.calibration, output]
            with open(output.with_suffix(".log"), "wb") as log:
                # NNCF sends telemetry unless it detects a test.
                environment = {**os.environ, "NNCF_CI": "1"}
                command = [str(word) for word in command]
                code = subprocess.run(command, stdout=log, stderr=log, env=environment).returncode
            if code != 0:
                raise FormFailure("crashed" if code < 0 else "failed", f"see {output.with_suffix('.log').name}")
            return {}

        self.kept(output, key, make)
        return output

    def artifact(self, name, eightfold, options):
        """Our artifact of this name, and the compiler's report. Raises `CompileFailure`."""
        output = self.folder / f"{name}.so"
        arguments = [self.model, *options]
        if "f32" not in options:
            arguments += ["--calibration-data", self.calibration]
        key = [*self.content, *options, digest(eightfold.read_bytes())]

        def make():
            report, _ = compiled(eightfold, arguments, output)
            seconds = seconds_to_compile(report)
            wanted = ("macs", "target", "int8_mac_share", "code_bytes", "weight_bytes", "arena_bytes", "arena_bound_bytes")
            return {"compile_seconds": seconds, **{name: report[name] for name in wanted}}

        return output, self.kept(output, key, make)

    def kept(self, output, key, make):
        """The result of `make` for this key: from the cache, or by making the output now."""
        note = output.with_name(output.name + ".key")
        try:
            kept = json.loads(note.read_text())
            if kept["key"] == key and output.is_file():
                return kept["made"]
        except (OSError, ValueError, KeyError):
            pass
        note.unlink(missing_ok=True)
        made = make()
        note.write_text(json.dumps({"key": key, "made": made}))
        return made


class FormFailure(Exception):
    """A peer failed to make its form: whether it crashed, and where its log is."""

    def __init__(self, status, why):
        super().__init__(f"{status}: {why}")
        self.status = status
        self.why = why


def digest(data):
    return hashlib.sha256(data).hexdigest()


def size(path):
    """Size of a form's files in bytes."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


def quantize_nncf(path, calibration, output):
    """Quantizes the model with NNCF for OpenVINO, with NNCF's default preset (performance)."""
    import nncf
    import openvino

    samples = load_inputs(calibration, session(str(path), "all", 1))
    model = openvino.Core().read_model(str(path))
    model.reshape({name: [1, *array.shape[1:]] for name, array in samples.items()})
    count = min(len(array) for array in samples.values())
    batches = [{name: array[i : i + 1] for name, array in samples.items()} for i in range(count)]
    quantized = nncf.quantize(model, nncf.Dataset(batches), subset_size=count)
    openvino.save_model(quantized, str(output), compress_to_fp16=False)


def constant_weights(model):
    """Removes initializers from the inputs, where old exporters list them; returns whether there were any.

    ONNX Runtime asks for it: what a caller may replace it does not fold, which can triple its time.
    """
    weights = {initializer.name for initializer in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    found = len(inputs) < len(model.graph.input)
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, CONSTANTS_IR_VERSION)
    return found


def with_constants(path, folder):
    """The model with its weights as constants: the model itself, or a copy in the folder."""
    model = onnx.load(path)
    if not constant_weights(model):
        return path
    onnx.save(model, folder / "float.onnx")
    return folder / "float.onnx"


def with_axes(path, folder):
    """The model with an opset that has per-channel Q/DQ: the model itself, or a converted copy in the folder."""
    model = onnx.load(path)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset >= AXES_OPSET:
        return path
    converted = folder / "converted.onnx"
    model = onnx.version_converter.convert_version(model, AXES_OPSET)
    constant_weights(model)
    onnx.save(model, converted)
    return converted


def main():
    form, model, calibration, output = sys.argv[1:]
    if form == "nncf":
        quantize_nncf(model, calibration, output)
    else:
        with tempfile.TemporaryDirectory() as folder:
            model = with_axes(model, pathlib.Path(folder))
            quantize_static(model, calibration, "MinMax", output, 1, {"qdq": "QDQ", "qoperator": "QOperator"}[form])


if __name__ == "__main__":
    main()
