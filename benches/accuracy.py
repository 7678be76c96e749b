#!/usr/bin/env python3
"""Accuracy of the peers' int8 on labelled data, on this CPU: top-1, agreement of top-1 with f32, mean SQNR in dB.

    accuracy.py MODEL.onnx DATA.npz [--calibration 128]

DATA holds the model's input by name, samples along the first axis, and `labels`. The first samples are for calibration,
the others for the test. Peers quantize as in `peers.py`. For Eightfold, use `eightfold calibrate`, `compile`, `eval` and
`compare` with the same split.
"""

import argparse
import pathlib
import tempfile

import numpy as np

from forms import quantize_nncf, with_axes, with_constants
from open_vino import OpenVino
from reference import load_inputs, quantize_static, run, session


def onnx_runtime(path, inputs):
    """The first output of each sample, as rows."""
    outputs = run(session(str(path), "all", 1), inputs, 1)
    return rows(next(iter(outputs.values())))


def open_vino(path, inputs):
    """The first output of each sample by OpenVINO, as rows."""
    shown = {name: array[:1].copy() for name, array in inputs.items()}
    program = OpenVino(path, shown, 1)
    outputs = []
    for sample in range(len(next(iter(inputs.values())))):
        for name, array in inputs.items():
            shown[name][:] = array[sample : sample + 1]
        program.run()
        outputs.append(program.outputs[0].copy())
    return rows(np.concatenate(outputs))


def rows(array):
    return array.reshape(len(array), -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--calibration", type=int, default=128, metavar="SAMPLES")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = with_axes(with_constants(options.model, folder), folder)
        data = np.load(options.data)
        inputs = load_inputs(options.data, session(str(model), "all", 1))
        tested = {name: array[options.calibration :] for name, array in inputs.items()}
        labels = data["labels"][options.calibration :]
        calibration = folder / "calibration.npz"
        np.savez(calibration, **{name: array[: options.calibration] for name, array in inputs.items()})
        expected = onnx_runtime(model, tested)

        def tell(what, got):
            with np.errstate(divide="ignore"):  # None of f32 itself.
                noise = 10 * np.log10((expected**2).sum(1) / ((expected - got) ** 2).sum(1))
            top1 = 100 * np.mean(got.argmax(1) == labels)
            same = 100 * np.mean(got.argmax(1) == expected.argmax(1))
            print(f"{what:40} top-1 {top1:6.2f}%  same winner {same:5.1f}%  SQNR {np.mean(noise):5.1f} dB", flush=True)

        tell("ONNX Runtime f32", expected)
        for reduce_range in (False, True):
            of = "reduced" if reduce_range else "whole"
            quantized = folder / f"{of}.onnx"
            quantize_static(model, calibration, "MinMax", quantized, 1, reduce_range=reduce_range)
            tell(f"ONNX Runtime QDQ, {of} range", onnx_runtime(quantized, tested))
            tell(f"OpenVINO on that, {of} range", open_vino(quantized, tested))
        quantized = folder / "nncf.xml"
        quantize_nncf(model, calibration, quantized)
        tell("OpenVINO by NNCF", open_vino(quantized, tested))


if __name__ == "__main__":
    main()
