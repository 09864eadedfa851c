"""Networks as functions of named values, with the places that methods read.

The names are those of the usual PyTorch state dicts, so that one value store serves files of weights,
checkpoints, and inner steps that autograd goes through.
"""

import dataclasses

import torch
from torch.nn import functional

MOMENTUM = 0.1
EPSILON = 1e-5


class Values:
    """Leaves by name, made or looked up by `source(name, shape)` when they are first asked for."""

    def __init__(self, source, trained=True):
        self.source, self.trained = source, trained
        self.leaves, self.buffers = {}, {}

    def leaf(self, name, *shape):
        if name not in self.leaves:
            value = self.source(name, shape)
            assert tuple(value.shape) == shape, f"{name}: {tuple(value.shape)} instead of {shape}"
            self.leaves[name] = value.detach().clone().requires_grad_(self.trained)
        return self.leaves[name]

    def buffer(self, name, *shape):
        if name not in self.buffers:
            self.buffers[name] = self.source(name, shape).detach().clone()
        return self.buffers[name]

    def with_leaves(self, leaves):
        """The same with other values; running statistics of its own, not to be kept."""
        other = Values(self.source, self.trained)
        other.leaves = {**self.leaves, **leaves}
        other.buffers = {name: value.clone() for name, value in self.buffers.items()}
        return other


@dataclasses.dataclass
class Scope:
    """Layers on the values under a prefix."""

    values: Values
    prefix: str
    train: bool = True

    def value(self, name, *shape):
        return self.values.leaf(self.prefix + name, *shape)

    def conv(self, name, x, out, kernel, stride=1, groups=1, bias=False, padding=None):
        weight = self.value(f"{name}.weight", out, x.shape[1] // groups, kernel, kernel)
        bias = self.value(f"{name}.bias", out) if bias else None
        padding = kernel // 2 if padding is None else padding
        return functional.conv2d(x, weight, bias, stride, padding, 1, groups)

    def mixed(self, name, x, out, bias=False):
        """A 1×1 convolution whose weight is [out, in]."""
        weight = self.value(f"{name}.weight", out, x.shape[1])[:, :, None, None]
        return functional.conv2d(x, weight, self.value(f"{name}.bias", out) if bias else None)

    def linear(self, name, x, out):
        weight = self.value(f"{name}.weight", out, x.shape[-1])
        return functional.linear(x, weight, self.value(f"{name}.bias", out))

    def norm(self, name, x, running=True):
        count = x.shape[1]
        weight, bias = self.value(f"{name}.weight", count), self.value(f"{name}.bias", count)
        if not running:
            return functional.batch_norm(x, None, None, weight, bias, True, MOMENTUM, EPSILON)
        mean = self.values.buffer(f"{self.prefix}{name}.running_mean", count)
        variance = self.values.buffer(f"{self.prefix}{name}.running_var", count)
        return functional.batch_norm(
            x, mean, variance, weight, bias, self.train, MOMENTUM, EPSILON
        )

    def layer_norm(self, name, x):
        width = x.shape[-1]
        weight, bias = self.value(f"{name}.weight", width), self.value(f"{name}.bias", width)
        return functional.layer_norm(x, (width,), weight, bias, EPSILON)


@dataclasses.dataclass
class Outputs:
    """What a network says: `maps` f0, f1, …; `before` the same in front of their activation."""

    logits: torch.Tensor
    maps: list
    before: list
    map: torch.Tensor
    classifier: tuple

    @property
    def pooled(self):
        return self.map.mean((2, 3))

    @property
    def last(self):
        return self.maps[-1]

    def detached(self):
        cut = [[m.detach() for m in maps] for maps in (self.maps, self.before)]
        weight, bias = self.classifier
        classifier = (weight.detach(), bias.detach())
        return Outputs(self.logits.detach(), *cut, self.map.detach(), classifier)


def finished(scope, name, maps, before, last, classes):
    """With a linear classifier of this name behind global average pooling, or without classes none."""
    if classes is None:
        return Outputs(None, maps, before, last, None)
    pooled = last.mean((2, 3))
    logits = scope.linear(name, pooled, classes)
    classifier = (
        scope.value(f"{name}.weight", classes, pooled.shape[1]),
        scope.value(f"{name}.bias", classes),
    )
    return Outputs(logits, maps, before, last, classifier)


def resnet(depth, widths):
    def forward(s, x, classes):
        before = [s.norm("bn1", s.conv("conv1", x, widths[0], 3))]
        maps = [before[0].relu()]
        x = maps[0]
        for stage in (1, 2, 3):
            for block in range((depth - 2) // 6):
                name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
                shortcut = x
                if stride > 1 or x.shape[1] != widths[stage]:
                    shortcut = s.conv(f"{name}.downsample.0", x, widths[stage], 1, stride)
                    shortcut = s.norm(f"{name}.downsample.1", shortcut)
                y = s.norm(f"{name}.bn1", s.conv(f"{name}.conv1", x, widths[stage], 3, stride))
                y = s.norm(f"{name}.bn2", s.conv(f"{name}.conv2", y.relu(), widths[stage], 3))
                inner = y + shortcut
                x = inner.relu()
            before.append(inner)
            maps.append(x)
        return finished(s, "fc", maps, before, x, classes)

    return forward


def wide_resnet(depth, width):
    def forward(s, x, classes):
        x = s.conv("conv1", x, 16, 3)
        maps, before = [x], []
        for stage in (1, 2, 3):
            channels = (8 << stage) * width
            for block in range((depth - 4) // 6):
                name, stride = f"block{stage}.layer.{block}", 2 if stage > 1 and block == 0 else 1
                normed = s.norm(f"{name}.bn1", x)
                if block == 0:
                    before.append(normed)
                active = normed.relu()
                y = s.norm(f"{name}.bn2", s.conv(f"{name}.conv1", active, channels, 3, stride))
                if x.shape[1] != channels:
                    x = s.conv(f"{name}.convShortcut", active, channels, 1, stride)
                x = x + s.conv(f"{name}.conv2", y.relu(), channels, 3)
            maps.append(x)
        before.append(s.norm("bn1", x))
        return finished(s, "fc", maps, before, before[-1].relu(), classes)

    return forward


def vgg(layers):
    def forward(s, x, classes):
        maps, before = [], []
        small = min(x.shape[2:]) < 64
        for block, width in enumerate((64, 128, 256, 512, 512)):
            for layer in range(layers[block]):
                inner = s.conv(f"block{block}.{3 * layer}", x, width, 3, bias=True)
                inner = s.norm(f"block{block}.{3 * layer + 1}", inner)
                x = inner.relu()
            before.append(inner)
            maps.append(x)
            if block < 3 or block == 3 and not small:
                x = functional.max_pool2d(x, 2)
        return finished(s, "classifier", maps, before, x, classes)

    return forward


def mobilenet_v2(s, x, classes):
    x = s.norm("conv1.1", s.conv("conv1.0", x, 16, 3, 2)).relu()
    maps = [x]
    rows = [(1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2)]
    rows += [(6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)]
    for stage, (expansion, width, blocks, stride) in enumerate(rows):
        for block in range(blocks):
            name, step = f"blocks.{stage}.{block}.conv", stride if block == 0 else 1
            hidden = x.shape[1] * expansion
            y = s.norm(f"{name}.1", s.conv(f"{name}.0", x, hidden, 1)).relu()
            y = s.norm(f"{name}.4", s.conv(f"{name}.3", y, hidden, 3, step, hidden)).relu()
            y = s.norm(f"{name}.7", s.conv(f"{name}.6", y, width, 1))
            x = x + y if step == 1 and x.shape[1] == width else y
        if stage in (1, 2, 4, 6):
            maps.append(x)
    last = s.norm("conv2.1", s.conv("conv2.0", x, 1280, 1)).relu()
    return finished(s, "classifier.0", maps, maps, last, classes)


NETWORKS = {
    "resnet8x0.5": resnet(8, (8, 8, 16, 32)),
    "resnet8": resnet(8, (16, 16, 32, 64)),
    "resnet14": resnet(14, (16, 16, 32, 64)),
    "wrn_16_1": wide_resnet(16, 1),
    "wrn_16_2": wide_resnet(16, 2),
    "vgg8": vgg((1, 1, 1, 1, 1)),
    "MobileNetV2": mobilenet_v2,
}
