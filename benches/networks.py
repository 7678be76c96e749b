"""Builds the benchmark's convolutional networks from scratch, with seeded random weights instead of trained ones.

    networks.py FOLDER [NAME ...]

Time, memory and size depend on shapes alone and equal those of the trained networks; outputs are meaningless. Each tensor
comes from a generator that is seeded by its name, so every machine makes the same files. Batch normalization is included
only where it cannot be folded into the preceding convolution. Requires numpy and onnx.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 1000


class Network:
    """A graph to which each method adds a node; methods take and return names of tensors."""

    def __init__(self, size: int, batch: int | str = 1, normalized: bool = False) -> None:
        """For images of `size` rows and columns; `normalized`: batch normalization instead of biases."""
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.channels = {"input": 3}
        self.shape = [batch, 3, size, size]
        self.normalized = normalized

    def node(self, operator: str, inputs: list[str], channels: int, **attributes: object) -> str:
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        self.channels[output] = channels
        return output

    def constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def drawn(self, shape: tuple[int, ...], deviation: float, mean: float = 0.0) -> str:
        """Normally distributed numbers, seeded by the tensor's position among all weights."""
        generator = np.random.default_rng(zlib.crc32(f"{len(self.weights)}".encode()))
        numbers = generator.standard_normal(shape, dtype=np.float32) * deviation + mean
        return self.constant(numbers.astype(np.float32))

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        pad: int | tuple[int, int] | None = None,
        groups: int = 1,
        gain: float | None = None,
        activation: str | None = "Relu",
    ) -> str:
        """A convolution. The variance of its results is `gain` times that of its inputs: 2 if an activation halves it."""
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        above, left = (rows // 2, columns // 2) if pad is None else (pad, pad) if isinstance(pad, int) else pad
        inputs = self.channels[x] // groups
        gain = gain or (2.0 if activation else 1.0)
        weight = self.drawn((channels, inputs, rows, columns), np.sqrt(gain / (inputs * rows * columns)))
        bias = [] if self.normalized else [self.drawn((channels,), 0.05)]
        y = self.node(
            "Conv",
            [x, weight, *bias],
            channels,
            kernel_shape=[rows, columns],
            strides=[stride, stride],
            pads=[above, left, above, left],
            group=groups,
        )
        return self.activate(self.normalize(y) if self.normalized else y, activation)

    def conv_transpose(self, x: str, channels: int) -> str:
        """Doubles rows and columns with windows that do not overlap."""
        weight = self.drawn((self.channels[x], channels, 2, 2), np.sqrt(1.0 / self.channels[x]))
        bias = self.drawn((channels,), 0.05)
        return self.node("ConvTranspose", [x, weight, bias], channels, kernel_shape=[2, 2], strides=[2, 2])

    def depthwise(self, x: str, kernel: int, stride: int, activation: str | None) -> str:
        return self.conv(x, self.channels[x], kernel, stride, groups=self.channels[x], activation=activation)

    def activate(self, x: str, activation: str | None) -> str:
        channels = self.channels[x]
        match activation:
            case None:
                return x
            case "Relu6":
                bounds = [self.constant(np.array(bound, dtype=np.float32)) for bound in (0.0, 6.0)]
                return self.node("Clip", [x, *bounds], channels)
            case "Silu":
                return self.node("Mul", [x, self.node("Sigmoid", [x], channels)], channels)
            case operator:
                return self.node(operator, [x], channels)

    def normalize(self, x: str) -> str:
        channels = (self.channels[x],)
        parameters = [self.drawn(channels, 0.1, 1.0), self.drawn(channels, 0.05), self.drawn(channels, 0.05)]
        variance = self.constant(np.ones(channels, dtype=np.float32))
        return self.node("BatchNormalization", [x, *parameters, variance], *channels)

    def add(self, x: str, y: str) -> str:
        return self.node("Add", [x, y], self.channels[x])

    def concat(self, *parts: str) -> str:
        return self.node("Concat", list(parts), sum(self.channels[part] for part in parts), axis=1)

    def split(self, x: str) -> tuple[str, str]:
        """Splits the channels into two halves."""
        half = self.channels[x] // 2
        axis = self.constant(np.array([1]))
        bounds = [self.constant(np.array([bound])) for bound in (0, half, 2 * half)]
        first, second = (
            self.node("Slice", [x, bounds[part], bounds[part + 1], axis], half) for part in (0, 1)
        )
        return first, second

    def shuffle(self, x: str, rows: int) -> str:
        """Interleaves the channels of the two halves; images have `rows` rows and columns."""
        channels = self.channels[x]
        apart = self.constant(np.array([1, 2, channels // 2, rows, rows]))
        y = self.node("Reshape", [x, apart], channels)
        y = self.node("Transpose", [y], channels, perm=[0, 2, 1, 3, 4])
        return self.node("Reshape", [y, self.constant(np.array([1, channels, rows, rows]))], channels)

    def max_pool(self, x: str, kernel: int, stride: int, pad: int = 0, ceil: bool = False) -> str:
        geometry = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.node("MaxPool", [x], self.channels[x], ceil_mode=int(ceil), **geometry)

    def average_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        geometry = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.node("AveragePool", [x], self.channels[x], count_include_pad=1, **geometry)

    def squeeze_excite(self, x: str, squeezed: int, activation: str, gate: str) -> str:
        mean = self.node("GlobalAveragePool", [x], self.channels[x])
        y = self.conv(self.conv(mean, squeezed, activation=activation), self.channels[x], activation=gate)
        return self.node("Mul", [x, y], self.channels[x])

    def inverted_residual(
        self,
        x: str,
        expanded: int,
        channels: int,
        kernel: int,
        stride: int,
        activation: str,
        squeeze: Callable[[str], str] | None = None,
    ) -> str:
        """Expansion, depthwise convolution, projection; adds the input if the shapes are equal."""
        y = x if expanded == self.channels[x] else self.conv(x, expanded, activation=activation)
        y = self.depthwise(y, kernel, stride, activation)
        y = squeeze(y) if squeeze else y
        same = stride == 1 and channels == self.channels[x]
        y = self.conv(y, channels, gain=0.2 if same else 1.0, activation=None)
        return self.add(x, y) if same else y

    def linear(self, x: str, outputs: int, activation: str | None = None) -> str:
        weight = self.drawn((outputs, self.channels[x]), np.sqrt(1.0 / self.channels[x]))
        y = self.node("Gemm", [x, weight, self.drawn((outputs,), 0.05)], outputs, transB=1)
        return self.activate(y, activation)

    def pooled(self, x: str) -> str:
        """The mean of each channel, as a vector."""
        mean = self.node("GlobalAveragePool", [x], self.channels[x])
        return self.node("Flatten", [mean], self.channels[x])

    def model(self, name: str, output: str, shape: list[int | str]) -> onnx.ModelProto:
        self.nodes[-1].output[0] = "output"
        assert output == self.nodes[-1].name, "the last node makes the result"
        given = helper.make_tensor_value_info("input", TensorProto.FLOAT, self.shape)
        result = helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, name, [given], [result], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model

    def classifier(self, name: str, x: str) -> onnx.ModelProto:
        return self.model(name, x, [self.shape[0], CLASSES])


def resnet(net: Network, name: str, blocks: list[int], bottleneck: bool) -> onnx.ModelProto:
    """ResNet, arXiv:1512.03385, with the stride in the 3x3 convolution."""
    x = net.max_pool(net.conv("input", 64, 7, 2), 3, 2, 1)
    for stage, count in enumerate(blocks):
        width = 64 << stage
        channels = 4 * width if bottleneck else width
        for block in range(count):
            stride = 2 if block == 0 and stage > 0 else 1
            if bottleneck:
                y = net.conv(net.conv(x, width), width, 3, stride)
                y = net.conv(y, channels, gain=0.2, activation=None)
            else:
                y = net.conv(net.conv(x, width, 3, stride), channels, 3, gain=0.2, activation=None)
            if stride != 1 or net.channels[x] != channels:
                x = net.conv(x, channels, 1, stride, activation=None)
            x = net.activate(net.add(y, x), "Relu")
    return net.classifier(name, net.linear(net.pooled(x), CLASSES))


def squeezenet1_1(name: str) -> onnx.ModelProto:
    """SqueezeNet 1.1, arXiv:1602.07360."""
    net = Network(224)
    x = net.max_pool(net.conv("input", 64, 3, 2, pad=0), 3, 2, ceil=True)
    for fire, squeezed in enumerate([16, 16, 32, 32, 48, 48, 64, 64]):
        if fire in (2, 4):
            x = net.max_pool(x, 3, 2, ceil=True)
        x = net.conv(x, squeezed)
        x = net.concat(net.conv(x, 4 * squeezed), net.conv(x, 4 * squeezed, 3))
    return net.classifier(name, net.pooled(net.conv(x, CLASSES)))


def mobilenet_v2(name: str) -> onnx.ModelProto:
    """MobileNetV2, arXiv:1801.04381."""
    net = Network(224)
    x = net.conv("input", 32, 3, 2, activation="Relu6")
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for times, channels, count, stride in table:
        for block in range(count):
            step = stride if block == 0 else 1
            x = net.inverted_residual(x, times * net.channels[x], channels, 3, step, "Relu6")
    return net.classifier(name, net.linear(net.pooled(net.conv(x, 1280, activation="Relu6")), CLASSES))


# kernel, expanded, channels, squeeze-excite, activation, stride
MOBILENET_V3_LARGE = [
    (3, 16, 16, False, "Relu", 1),
    (3, 64, 24, False, "Relu", 2),
    (3, 72, 24, False, "Relu", 1),
    (5, 72, 40, True, "Relu", 2),
    (5, 120, 40, True, "Relu", 1),
    (5, 120, 40, True, "Relu", 1),
    (3, 240, 80, False, "HardSwish", 2),
    (3, 200, 80, False, "HardSwish", 1),
    (3, 184, 80, False, "HardSwish", 1),
    (3, 184, 80, False, "HardSwish", 1),
    (3, 480, 112, True, "HardSwish", 1),
    (3, 672, 112, True, "HardSwish", 1),
    (5, 672, 160, True, "HardSwish", 2),
    (5, 960, 160, True, "HardSwish", 1),
    (5, 960, 160, True, "HardSwish", 1),
]


def eighths(channels: float) -> int:
    """The nearest multiple of 8 that is not more than 10% smaller."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def mobilenet_v3_large(name: str) -> onnx.ModelProto:
    """MobileNetV3-Large, arXiv:1905.02244."""
    net = Network(224)
    x = net.conv("input", 16, 3, 2, activation="HardSwish")
    for kernel, expanded, channels, squeezes, activation, stride in MOBILENET_V3_LARGE:

        def squeeze(y: str) -> str:
            return net.squeeze_excite(y, eighths(net.channels[y] / 4), "Relu", "HardSigmoid")

        x = net.inverted_residual(x, expanded, channels, kernel, stride, activation, squeeze if squeezes else None)
    x = net.pooled(net.conv(x, 960, activation="HardSwish"))
    return net.classifier(name, net.linear(net.linear(x, 1280, "HardSwish"), CLASSES))


def efficientnet_b0(name: str) -> onnx.ModelProto:
    """EfficientNet-B0, arXiv:1905.11946."""
    net = Network(224)
    x = net.conv("input", 32, 3, 2, activation="Silu")
    table = [
        (1, 3, 16, 1, 1),
        (6, 3, 24, 2, 2),
        (6, 5, 40, 2, 2),
        (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
    ]
    for times, kernel, channels, count, stride in table:
        for block in range(count):
            squeezed = max(1, net.channels[x] // 4)

            def squeeze(y: str, squeezed: int = squeezed) -> str:
                return net.squeeze_excite(y, squeezed, "Silu", "Sigmoid")

            step = stride if block == 0 else 1
            x = net.inverted_residual(x, times * net.channels[x], channels, kernel, step, "Silu", squeeze)
    return net.classifier(name, net.linear(net.pooled(net.conv(x, 1280, activation="Silu")), CLASSES))


def shufflenet_v2_x1_0(name: str) -> onnx.ModelProto:
    """ShuffleNetV2 1.0, arXiv:1807.11164."""
    net = Network(224)
    x = net.max_pool(net.conv("input", 24, 3, 2), 3, 2, 1)
    rows = 56
    for channels, count in [(116, 4), (232, 8), (464, 4)]:
        half = channels // 2
        rows //= 2
        for block in range(count):
            stride = 2 if block == 0 else 1
            if block == 0:
                kept, y = net.conv(net.depthwise(x, 3, 2, None), half), x
            else:
                kept, y = net.split(x)
            y = net.depthwise(net.conv(y, half), 3, stride, None)
            x = net.shuffle(net.concat(kept, net.conv(y, half)), rows)
    return net.classifier(name, net.linear(net.pooled(net.conv(x, 1024)), CLASSES))


def densenet121(name: str) -> onnx.ModelProto:
    """DenseNet-121, arXiv:1608.06993."""
    net = Network(224)

    def rectified(x: str) -> str:
        return net.activate(net.normalize(x), "Relu")

    x = net.max_pool(net.conv("input", 64, 7, 2), 3, 2, 1)
    for stage, count in enumerate([6, 12, 24, 16]):
        if stage > 0:
            x = net.average_pool(net.conv(rectified(x), net.channels[x] // 2, activation=None), 2, 2)
        for _ in range(count):
            x = net.concat(x, net.conv(net.conv(rectified(x), 128), 32, 3, activation=None))
    return net.classifier(name, net.linear(net.pooled(rectified(x)), CLASSES))


def inception_v3(name: str) -> onnx.ModelProto:
    """Inception v3, arXiv:1512.00567."""
    net = Network(299)
    x = net.conv(net.conv(net.conv("input", 32, 3, 2, pad=0), 32, 3, pad=0), 64, 3)
    x = net.conv(net.conv(net.max_pool(x, 3, 2), 80), 192, 3, pad=0)
    x = net.max_pool(x, 3, 2)

    def chain(x: str, *layers: tuple[int, int | tuple[int, int]]) -> str:
        for channels, kernel in layers:
            x = net.conv(x, channels, kernel)
        return x

    for pooled in (32, 64, 64):
        tower = chain(x, (64, 1), (96, 3), (96, 3))
        pool = chain(net.average_pool(x, 3, 1, 1), (pooled, 1))
        x = net.concat(chain(x, (64, 1)), chain(x, (48, 1), (64, 5)), tower, pool)
    tower = net.conv(chain(x, (64, 1), (96, 3)), 96, 3, 2, pad=0)
    x = net.concat(net.conv(x, 384, 3, 2, pad=0), tower, net.max_pool(x, 3, 2))
    wide, tall = (1, 7), (7, 1)
    for width in (128, 160, 160, 192):
        tower = chain(x, (width, 1), (width, wide), (192, tall))
        double = chain(x, (width, 1), (width, tall), (width, wide), (width, tall), (192, wide))
        pool = chain(net.average_pool(x, 3, 1, 1), (192, 1))
        x = net.concat(chain(x, (192, 1)), tower, double, pool)
    tower = net.conv(chain(x, (192, 1)), 320, 3, 2, pad=0)
    double = net.conv(chain(x, (192, 1), (192, wide), (192, tall)), 192, 3, 2, pad=0)
    x = net.concat(tower, double, net.max_pool(x, 3, 2))
    for _ in range(2):
        stem = chain(x, (384, 1))
        tower = net.concat(chain(stem, (384, (1, 3))), chain(stem, (384, (3, 1))))
        stem = chain(x, (448, 1), (384, 3))
        double = net.concat(chain(stem, (384, (1, 3))), chain(stem, (384, (3, 1))))
        pool = chain(net.average_pool(x, 3, 1, 1), (192, 1))
        x = net.concat(chain(x, (320, 1)), tower, double, pool)
    return net.classifier(name, net.linear(net.pooled(x), CLASSES))


def unet_256(name: str) -> onnx.ModelProto:
    """U-Net, arXiv:1505.04597, padded, of 32 to 256 channels."""
    net = Network(256)

    def twice(x: str, channels: int) -> str:
        return net.conv(net.conv(x, channels, 3), channels, 3)

    x, kept = twice("input", 32), []
    for channels in (64, 128, 256):
        kept.append(x)
        x = twice(net.max_pool(x, 2, 2), channels)
    for beside in reversed(kept):
        x = net.conv_transpose(x, net.channels[beside])
        x = twice(net.concat(beside, x), net.channels[beside])
    return net.model(name, net.conv(x, 2, activation=None), [1, 2, 256, 256])


NETWORKS: dict[str, Callable[[str], onnx.ModelProto]] = {
    "densenet121": densenet121,
    "efficientnet_b0": efficientnet_b0,
    "inception_v3": inception_v3,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_large": mobilenet_v3_large,
    "resnet18": lambda name: resnet(Network(224), name, [2, 2, 2, 2], bottleneck=False),
    "resnet18_bn_dynbatch": lambda name: resnet(Network(224, "batch", True), name, [2, 2, 2, 2], bottleneck=False),
    "resnet50": lambda name: resnet(Network(224), name, [3, 4, 6, 3], bottleneck=True),
    "shufflenet_v2_x1_0": shufflenet_v2_x1_0,
    "squeezenet1_1": squeezenet1_1,
    "unet_256": unet_256,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NETWORKS)}; by default all")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NETWORKS]
    if unknown:
        parser.error(f"no network is named {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or NETWORKS:
        path = arguments.folder / f"{name}.onnx"
        onnx.save(NETWORKS[name](name), path)
        print(path)


if __name__ == "__main__":
    main()
