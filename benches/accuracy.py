#!/usr/bin/env python3
"""What peers' int8 loses on labelled data, on this CPU: top-1, the share with the same winner as f32, mean SQNR in dB.

    accuracy.py MODEL.onnx DATA.npz [--calibration 128]

DATA holds the model's input by name, samples along the first axis, and `labels`. The first samples calibrate, the others
test. Ours by the same split: `eightfold calibrate`, `compile`, `eval` and `compare`.
"""

import argparse
import pathlib
import tempfile

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from forms import with_axes, with_constants


class Samples(CalibrationDataReader):
    """Samples one by one, for ONNX Runtime's calibration."""

    def __init__(self, name, samples):
        self.feeds = ({name: sample[None]} for sample in samples)

    def get_next(self):
        return next(self.feeds, None)


def onnx_runtime(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda sample: session.run(None, {name: sample})[0]


def openvino(model):
    import openvino as ov

    compiled = ov.Core().compile_model(model, "CPU")
    return lambda sample: compiled(sample)[0]


def logits(program, samples):
    return np.concatenate([program(sample[None]).reshape(1, -1) for sample in samples])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--calibration", type=int, default=128, metavar="SAMPLES")
    options = parser.parse_args()

    import nncf
    import openvino as ov

    data = np.load(options.data)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        float_model = with_axes(with_constants(options.model, folder), folder)
        name = onnxruntime.InferenceSession(str(float_model)).get_inputs()[0].name
        seen, tested = np.split(data[name], [options.calibration])
        labels = data["labels"][options.calibration :]
        expected = logits(onnx_runtime(float_model), tested)

        def tell(what, program):
            got = logits(program, tested)
            noise = 10 * np.log10((expected**2).sum(1) / ((expected - got) ** 2).sum(1))
            top1 = 100 * np.mean(got.argmax(1) == labels)
            same = 100 * np.mean(got.argmax(1) == expected.argmax(1))
            print(f"{what:40} top-1 {top1:6.2f}%  same winner {same:5.1f}%  SQNR {np.mean(noise):5.1f} dB", flush=True)

        tell("ONNX Runtime f32", onnx_runtime(float_model))
        for reduced in (False, True):
            quantized = folder / f"reduced_{reduced}.onnx"
            quantize_static(
                str(float_model),
                str(quantized),
                Samples(name, seen),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduced,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            of = "reduced" if reduced else "whole"
            tell(f"ONNX Runtime QDQ, {of} range", onnx_runtime(quantized))
            tell(f"OpenVINO on that, {of} range", openvino(ov.Core().read_model(quantized)))
        model = ov.Core().read_model(float_model)
        model.reshape([1, *seen.shape[1:]])
        batches = nncf.Dataset([sample[None] for sample in seen])
        tell("OpenVINO by NNCF", openvino(nncf.quantize(model, batches, subset_size=len(seen))))


if __name__ == "__main__":
    main()
