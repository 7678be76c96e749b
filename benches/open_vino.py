"""OpenVINO in the benchmarks."""

import numpy as np
import openvino


class OpenVino:
    """A model compiled for latency with one stream, which runs on fixed inputs into its own buffers.

    `precision` of float layers: f32, bf16, or None for OpenVINO's choice on this CPU.
    """

    def __init__(self, path, inputs, threads, precision=None):
        settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
        if precision is not None:
            settings["INFERENCE_PRECISION_HINT"] = precision
        self.inputs = inputs  # OpenVINO uses this memory and does not keep it alive
        core = openvino.Core()
        model = core.read_model(str(path))
        # Inputs by index, because quantization may rename them. Fixed shapes help the CPU plugin.
        model.reshape({own: list(array.shape) for own, array in zip(model.inputs, inputs.values())})
        compiled = core.compile_model(model, "CPU", settings)
        self.request = compiled.create_infer_request()
        for index, array in enumerate(inputs.values()):
            self.request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
        self.outputs = [np.empty(list(output.shape), output.element_type.to_dtype()) for output in compiled.outputs]
        for index, array in enumerate(self.outputs):
            self.request.set_output_tensor(index, openvino.Tensor(array, shared_memory=True))
        self.run()

    def run(self):
        self.request.infer(share_outputs=True)
