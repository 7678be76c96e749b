"""Trains the small convolutional network that the demo and the tests compile, and writes it as ONNX.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt && venv/bin/python train_digits.py

Data: the UCI handwritten digits that scikit-learn carries (1,797 images of 8 x 8, pixels 0..16), split once by a
fixed seed, stratified by class. Written beside this script:

    digits.onnx              image: f32 [batch, 1, 8, 8], pixels already scaled to 0..1  ->  logits: f32 [batch, 10]
    digits_calibration.npz   image: 128 of the training images
    digits_test.npz          image, labels (i64): the 600 images held out

Batch normalization stays in nodes of its own: folding it into the convolutions is the compiler's work.
Everything is seeded; on one kind of machine two runs write the same bytes.
"""

import os

# One thread: the order in which a matrix product is summed must not depend on the machine's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from network import BatchNorm, Conv, Depthwise, GlobalAveragePool, Linear, MaxPool, Relu, Residual

HERE = pathlib.Path(__file__).parent
SEED = 8
TEST_IMAGES = 600
CALIBRATION_IMAGES = 128
EPOCHS = 60
BATCH = 32
PEAK_RATE = 4e-3
WEIGHT_DECAY = 1e-4
LABEL_SMOOTHING = 0.05


def network(rng):
    """The layers in order, named as the ONNX nodes will be."""
    return [
        ("stem/conv", Conv(rng, 3, 1, 32)),
        ("stem/batch_norm", BatchNorm(32)),
        ("stem/relu", Relu()),
        (
            "block1/add",
            Residual(
                [
                    ("block1/conv1", Conv(rng, 3, 32, 32)),
                    ("block1/batch_norm1", BatchNorm(32)),
                    ("block1/relu1", Relu()),
                    ("block1/conv2", Conv(rng, 3, 32, 32)),
                    ("block1/batch_norm2", BatchNorm(32)),
                ]
            ),
        ),
        ("block1/relu2", Relu()),
        ("block1/max_pool", MaxPool()),
        ("block2/depthwise", Depthwise(rng, 3, 32)),
        ("block2/batch_norm1", BatchNorm(32)),
        ("block2/relu1", Relu()),
        ("block2/pointwise", Conv(rng, 1, 32, 64)),
        ("block2/batch_norm2", BatchNorm(64)),
        ("block2/relu2", Relu()),
        ("head/global_average_pool", GlobalAveragePool()),
        ("head/linear", Linear(rng, 64, 10)),
    ]


def forward(layers, x, training=False):
    for _, layer in layers:
        x = layer.forward(x, training)
    return x


def shifted(images, rng):
    """Each image moved by up to one pixel each way: [n, 8, 8, 1]."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    down, right = rng.integers(0, 3, (2, len(images)))
    rows = down[:, None, None] + np.arange(8)[:, None]
    columns = right[:, None, None] + np.arange(8)
    return padded[np.arange(len(images))[:, None, None], rows, columns]


def train(layers, images, labels, rng):
    """Adam on softmax cross-entropy, with a warm-up and a cosine decay of the rate."""
    parameters = [p for _, layer in layers for p in layer.parameters]
    moments = [(np.zeros_like(value), np.zeros_like(value)) for value, _ in parameters]
    target = np.eye(10, dtype=np.float32)[labels] * (1 - LABEL_SMOOTHING) + np.float32(LABEL_SMOOTHING / 10)
    steps_per_epoch = len(images) // BATCH
    steps = EPOCHS * steps_per_epoch
    step = 0
    for epoch in range(EPOCHS):
        order = rng.permutation(len(images))
        total = 0.0
        for batch in np.array_split(order[: steps_per_epoch * BATCH], steps_per_epoch):
            step += 1
            logits = forward(layers, shifted(images[batch], rng), training=True)
            shifted_logits = logits - logits.max(1, keepdims=True)
            log_softmax = shifted_logits - np.log(np.exp(shifted_logits).sum(1, keepdims=True))
            total -= float((target[batch] * log_softmax).sum())
            gradient = (np.exp(log_softmax) - target[batch]) / np.float32(BATCH)
            for _, layer in reversed(layers):
                gradient = layer.backward(gradient)
            rate = PEAK_RATE * min(step / (2 * steps_per_epoch), (1 + np.cos(np.pi * step / steps)) / 2)
            for (value, grad), (first, second) in zip(parameters, moments):
                first += 0.1 * (grad - first)
                second += 0.001 * (grad * grad - second)
                unbiased = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
                value -= np.float32(rate) * (unbiased + WEIGHT_DECAY * value)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1:3}: loss {total / (steps_per_epoch * BATCH):.4f}", flush=True)


class Exporter:
    """Collects ONNX nodes and initializers while it walks the layers."""

    def __init__(self):
        self.nodes, self.initializers, self.macs, self.pixels = [], [], 0, 64

    def constant(self, name, array):
        array = np.ascontiguousarray(array, np.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op, name, inputs, output=None, **attributes):
        output = output or f"{name}/output"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def layer(self, name, layer, x):
        """Emits one layer that reads value `x`; returns the name of its output value."""
        match layer:
            case Conv() | Depthwise():
                weight = layer.onnx_weight()
                edge = layer.size // 2
                groups = {"group": weight.shape[0]} if isinstance(layer, Depthwise) else {}
                self.macs += layer.macs(self.pixels)
                return self.node(
                    "Conv", name, [x, self.constant(f"{name}/weight", weight)],
                    kernel_shape=[layer.size] * 2, pads=[edge] * 4, **groups,
                )  # fmt: skip
            case BatchNorm():
                arrays = {"scale": layer.scale[0], "bias": layer.bias[0], "mean": layer.mean, "var": layer.var}
                constants = [self.constant(f"{name}/{key}", value) for key, value in arrays.items()]
                return self.node("BatchNormalization", name, [x, *constants], epsilon=layer.EPSILON)
            case Relu():
                return self.node("Relu", name, [x])
            case MaxPool():
                self.pixels //= 4
                return self.node("MaxPool", name, [x], kernel_shape=[2, 2], strides=[2, 2])
            case Residual():
                y = x
                for inner_name, inner in layer.body:
                    y = self.layer(inner_name, inner, y)
                return self.node("Add", name, [y, x])
            case GlobalAveragePool():
                pooled = self.node("GlobalAveragePool", name, [x])
                return self.node("Flatten", "head/flatten", [pooled])
            case Linear():
                self.macs += layer.macs(1)
                weight = self.constant(f"{name}/weight", layer.weight[0])
                bias = self.constant(f"{name}/bias", layer.bias[0])
                return self.node("Gemm", name, [x, weight, bias], output="logits", transB=1)
        raise TypeError(f"{name}: no ONNX form for {type(layer).__name__}")


def export(layers, path):
    """Writes the network as ONNX (opset 17, IR version 8); returns its multiply-accumulates for one image."""
    exporter = Exporter()
    x = "image"
    for name, layer in layers:
        x = exporter.layer(name, layer, x)
    graph = helper.make_graph(
        exporter.nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        exporter.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="train_digits.py")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return exporter.macs


def main():
    data = load_digits()
    images = (data.images[..., None] / 16).astype(np.float32)
    labels = data.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=TEST_IMAGES, random_state=SEED, stratify=labels
    )
    rng = np.random.default_rng(SEED)
    layers = network(rng)
    train(layers, x_train, y_train, rng)

    macs = export(layers, HERE / "digits.onnx")
    nchw = lambda x: np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    calibration = rng.choice(len(x_train), CALIBRATION_IMAGES, replace=False)
    np.savez_compressed(HERE / "digits_calibration.npz", image=nchw(x_train[calibration]))
    np.savez_compressed(HERE / "digits_test.npz", image=nchw(x_test), labels=y_test)

    session = onnxruntime.InferenceSession(HERE / "digits.onnx", providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"image": nchw(x_test)})[0]
    difference = np.abs(logits - forward(layers, x_test)).max()
    top1 = (logits.argmax(1) == y_test).mean()
    print(f"{macs:,} MACs an image; top-1 {top1:.2%} on {len(y_test)} held-out images")
    assert difference < 1e-4, f"ONNX Runtime differs from the trained network by {difference}"
    assert macs >= 1_000_000 and top1 >= 0.97


if __name__ == "__main__":
    main()
