#!/usr/bin/env python3
"""The forms of a model that the benchmarks run: its noise, its quantized models, its compiled artifacts.

    forms.py FORM MODEL.onnx CALIBRATION.npz OUTPUT

FORM is `qdq` or `qoperator` (ONNX Runtime's static quantization) or `nncf` (OpenVINO's, an .xml with its .bin). A form
is made in a process of its own, as quantizers crash too, and kept with a key: what it was made from and by. It is made
again when the key is another one.
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
# The first versions of the format with scales per channel, and with initializers that are no inputs.
AXES_OPSET, CONSTANTS_IR_VERSION = 13, 4
HERE = pathlib.Path(__file__).parent
# Who makes the peers' forms: another version may make another model.
MAKERS = [HERE / name for name in ("forms.py", "reference.py", "requirements.txt", "requirements-peers.txt")]
SUFFIXES = {"qdq": ".onnx", "qoperator": ".onnx", "nncf": ".xml"}


def inputs_of(path, scale):
    """Seeded noise for the model's inputs, `scale` times as large as standard noise."""
    drawn = random_inputs(session(str(path), "all", 1))
    return {name: (scale * array).astype(array.dtype) for name, array in drawn.items()}


def calibration_noise(inputs, scale):
    """Samples for int8 ranges, along the first axis of an array per input: noise, as only time is looked at."""
    rng = np.random.default_rng(1)
    shape = lambda array: (CALIBRATION_SAMPLES, *array.shape[1:])
    return {name: (scale * rng.standard_normal(shape(a))).astype(a.dtype) for name, a in inputs.items()}


class Forms:
    """The forms of one model, kept in a folder."""

    def __init__(self, model, scale, folder):
        self.model = model
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.inputs, self.expected = folder / "inputs.npz", folder / "expected.npz"
        self.calibration = folder / "calibration.npz"
        reference = OnnxRuntime(model, inputs_of(model, scale))
        np.savez(self.inputs, **reference.inputs)
        # In order, by place: an output's name may be no name of a file.
        np.savez(self.expected, **{f"{place:03}": array for place, array in enumerate(reference.outputs)})
        np.savez(self.calibration, **calibration_noise(reference.inputs, scale))
        self.float = with_constants(model, folder)  # What peers are given.
        noise = np.load(self.calibration)  # The archive itself has the time in it.
        self.content = [digest(model.read_bytes()), *(digest(noise[name].tobytes()) for name in noise.files)]

    def peer(self, form):
        """A peer's quantized model. Raises `FormFailure`."""
        output = self.folder / (form + SUFFIXES[form])
        key = [*self.content, *(digest(maker.read_bytes()) for maker in MAKERS)]

        def make():
            command = [sys.executable, HERE / "forms.py", form, self.float, self.calibration, output]
            with open(output.with_suffix(".log"), "wb") as log:
                # NNCF reports its use to its makers unless it believes that it is tested.
                environment = {**os.environ, "NNCF_CI": "1"}
                command = [str(word) for word in command]
                code = subprocess.run(command, stdout=log, stderr=log, env=environment).returncode
            if code != 0:
                raise FormFailure("crashed" if code < 0 else "failed", f"see {output.with_suffix('.log').name}")
            return {}

        self.kept(output, key, make)
        return output

    def artifact(self, name, eightfold, options):
        """Our artifact of this name, and what the compiler reported. Raises `CompileFailure`."""
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
        """What `make` said when it made the output, now or in an earlier run with this key."""
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
    """A peer could not make its form: whether it crashed or failed, and where it says why."""

    def __init__(self, status, why):
        super().__init__(f"{status}: {why}")
        self.status = status
        self.why = why


def digest(data):
    return hashlib.sha256(data).hexdigest()


def size(path):
    """Bytes of a form's files."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)


def quantize_nncf(path, calibration, output):
    """Writes NNCF's post-training quantization of the model for OpenVINO, tuned for speed as is its default."""
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
    """Takes initializers out of the inputs, where old exporters put them; whether there were any.

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
    """The model with its weights as constants: itself, or written into the folder."""
    model = onnx.load(path)
    if not constant_weights(model):
        return path
    onnx.save(model, folder / "float.onnx")
    return folder / "float.onnx"


def with_axes(path, folder):
    """The model with an opset whose Q/DQ have scales per channel: itself, or converted into the folder."""
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
