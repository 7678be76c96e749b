"""A few layers with hand-written gradients: enough to train the digits network with numpy alone.

Tensors are NHWC f32 while training (a convolution is then one matrix product per window position);
the exporter transposes the weights to ONNX's order. Every layer has `forward(x, training)`, `backward(dy)`
and `parameters`, a list of [value, gradient] pairs.
"""

import numpy as np


class Layer:
    """A layer without parameters of its own."""

    def __init__(self):
        self.parameters = []

    def parameter(self, value):
        """Registers a trained array and returns its [value, gradient] pair."""
        pair = [value.astype(np.float32), np.zeros(value.shape, np.float32)]
        self.parameters.append(pair)
        return pair


def windows(x, size):
    """All size x size windows of `x`, padded so that there is one per pixel: [n, h, w, size, size, c], a view."""
    edge = size // 2
    x = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return view.transpose(0, 1, 2, 4, 5, 3)


class Conv(Layer):
    """Convolution, stride 1, same padding, no bias (a batch norm follows). Weight [size, size, in, out]."""

    def __init__(self, rng, size, inputs, outputs):
        super().__init__()
        self.size = size
        std = np.sqrt(2 / (size * size * inputs))
        self.weight = self.parameter(rng.standard_normal((size, size, inputs, outputs)) * std)

    def forward(self, x, training):
        n, h, w, c = x.shape
        self.columns = windows(x, self.size).reshape(n * h * w, -1)
        out = self.weight[0].shape[-1]
        return (self.columns @ self.weight[0].reshape(-1, out)).reshape(n, h, w, out)

    def backward(self, dy):
        n, h, w, out = dy.shape
        self.weight[1][...] = (self.columns.T @ dy.reshape(-1, out)).reshape(self.weight[0].shape)
        flipped = self.weight[0][::-1, ::-1].transpose(0, 1, 3, 2)
        columns = windows(dy, self.size).reshape(n * h * w, -1)
        return (columns @ flipped.reshape(-1, flipped.shape[-1])).reshape(n, h, w, -1)

    def macs(self, pixels):
        return self.weight[0].size * pixels

    def onnx_weight(self):
        return self.weight[0].transpose(3, 2, 0, 1)


class Depthwise(Layer):
    """Depthwise convolution, stride 1, same padding, no bias. Weight [size, size, channels]."""

    def __init__(self, rng, size, channels):
        super().__init__()
        self.size = size
        std = np.sqrt(2 / (size * size))
        self.weight = self.parameter(rng.standard_normal((size, size, channels)) * std)

    def forward(self, x, training):
        self.windows = windows(x, self.size)
        return np.einsum("nhwijc,ijc->nhwc", self.windows, self.weight[0])

    def backward(self, dy):
        self.weight[1][...] = np.einsum("nhwijc,nhwc->ijc", self.windows, dy)
        return np.einsum("nhwijc,ijc->nhwc", windows(dy, self.size), self.weight[0][::-1, ::-1])

    def macs(self, pixels):
        return self.weight[0].size * pixels

    def onnx_weight(self):
        return self.weight[0].transpose(2, 0, 1)[:, None]


class BatchNorm(Layer):
    """Batch normalization over all but the channels; running statistics for inference."""

    EPSILON = 1e-5
    MOMENTUM = 0.9

    def __init__(self, channels):
        super().__init__()
        self.scale = self.parameter(np.ones(channels))
        self.bias = self.parameter(np.zeros(channels))
        self.mean = np.zeros(channels, np.float32)
        self.var = np.ones(channels, np.float32)

    def forward(self, x, training):
        if training:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.mean += (1 - self.MOMENTUM) * (mean - self.mean)
            self.var += (1 - self.MOMENTUM) * (var - self.var)
        else:
            mean, var = self.mean, self.var
        self.inverse = 1 / np.sqrt(var + self.EPSILON)
        self.normal = (x - mean) * self.inverse
        return self.normal * self.scale[0] + self.bias[0]

    def backward(self, dy):
        self.scale[1][...] = (dy * self.normal).sum((0, 1, 2))
        self.bias[1][...] = dy.sum((0, 1, 2))
        count = dy.size // dy.shape[-1]
        centred = dy - (self.bias[1] + self.normal * self.scale[1]) / count
        return centred * self.scale[0] * self.inverse


class Relu(Layer):
    """max(x, 0)."""

    def forward(self, x, training):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


class MaxPool(Layer):
    """2 x 2 maximum, stride 2; the gradient is shared where several are the maximum."""

    def forward(self, x, training):
        n, h, w, c = x.shape
        tiles = x.reshape(n, h // 2, 2, w // 2, 2, c)
        y = tiles.max((2, 4))
        self.mask = tiles == y[:, :, None, :, None]
        return y

    def backward(self, dy):
        count = self.mask.sum((2, 4), keepdims=True)
        n, h, _, w, _, c = self.mask.shape
        dx = self.mask * (dy[:, :, None, :, None] / count)
        return dx.astype(np.float32).reshape(n, 2 * h, 2 * w, c)


class GlobalAveragePool(Layer):
    """Mean over the pixels: [n, h, w, c] to [n, c]."""

    def forward(self, x, training):
        self.shape = x.shape
        return x.mean((1, 2))

    def backward(self, dy):
        n, h, w, c = self.shape
        return np.broadcast_to(dy[:, None, None] / np.float32(h * w), self.shape)


class Linear(Layer):
    """x W^T + b. Weight [out, in], as ONNX's Gemm with transB."""

    def __init__(self, rng, inputs, outputs):
        super().__init__()
        self.weight = self.parameter(rng.standard_normal((outputs, inputs)) * np.sqrt(1 / inputs))
        self.bias = self.parameter(np.zeros(outputs))

    def forward(self, x, training):
        self.x = x
        return x @ self.weight[0].T + self.bias[0]

    def backward(self, dy):
        self.weight[1][...] = dy.T @ self.x
        self.bias[1][...] = dy.sum(0)
        return dy @ self.weight[0]

    def macs(self, pixels):
        return self.weight[0].size


class Residual(Layer):
    """x + body(x); `body` is a list of (name, layer)."""

    def __init__(self, body):
        super().__init__()
        self.body = body
        self.parameters = [p for _, layer in body for p in layer.parameters]

    def forward(self, x, training):
        y = x
        for _, layer in self.body:
            y = layer.forward(y, training)
        return x + y

    def backward(self, dy):
        dx = dy
        for _, layer in reversed(self.body):
            dx = layer.backward(dx)
        return dy + dx
