"""The networks of the benchmarks in PyTorch, for comparison."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.bn2(self.conv2(y)) + shortcut)


class ResNet(nn.Module):
    def __init__(self, depth, widths, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        for stage in (1, 2, 3):
            blocks = []
            for block in range((depth - 2) // 6):
                stride = 2 if stage > 1 and block == 0 else 1
                blocks.append(Block(inputs, widths[stage], stride))
                inputs = widths[stage]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    @classmethod
    def named(cls, name, classes):
        wide = name.endswith("x4")
        depth = int(name.removeprefix("resnet").removesuffix("x4"))
        return cls(depth, (32, 64, 128, 256) if wide else (16, 16, 32, 64), classes)

    def with_map(self, x):
        """Logits and the last map before pooling."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3))), x

    def forward(self, x):
        return self.with_map(x)[0]


class WideBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        active = functional.relu(self.bn1(x))
        y = self.conv2(functional.relu(self.bn2(self.conv1(active))))
        return y + (x if self.shortcut is None else self.shortcut(active))


def conv_norm(inputs, outputs, kernel, stride=1, groups=1, relu=True, bias=False):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, expansion, stride):
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            conv_norm(inputs, hidden, 1),
            conv_norm(hidden, hidden, 3, stride, hidden),
            conv_norm(hidden, outputs, 1, relu=False),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.adds else self.layers(x)


class Shuffle(nn.Module):
    """A unit of ShuffleNetV2; `halve` joins two branches, otherwise half the channels pass."""

    def __init__(self, inputs, outputs, halve):
        super().__init__()
        half = outputs // 2
        stride = 2 if halve else 1
        self.left = None
        if halve:
            self.left = nn.Sequential(
                conv_norm(inputs, inputs, 3, 2, inputs, relu=False), conv_norm(inputs, half, 1)
            )
        self.right = nn.Sequential(
            conv_norm(inputs if halve else half, half, 1),
            conv_norm(half, half, 3, stride, half, relu=False),
            conv_norm(half, half, 1),
        )

    def forward(self, x):
        left, right = (x, x) if self.left is not None else x.chunk(2, 1)
        left = left if self.left is None else self.left(left)
        y = torch.cat((left, self.right(right)), 1)
        batch, channels, height, width = y.shape
        y = y.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        return y.reshape(batch, channels, height, width)


class Plain(nn.Module):
    """Layers, global average pooling and a linear layer."""

    def __init__(self, layers, channels, classes):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, classes)

    def with_map(self, x):
        x = self.layers(x)
        return self.fc(x.mean((2, 3))), x

    def forward(self, x):
        return self.with_map(x)[0]


def wide_resnet(depth, width, classes):
    layers, inputs = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)], 16
    for stage in (1, 2, 3):
        for block in range((depth - 4) // 6):
            outputs = (8 << stage) * width
            layers.append(WideBlock(inputs, outputs, 2 if stage > 1 and block == 0 else 1))
            inputs = outputs
    return Plain([*layers, nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)], inputs, classes)


def vgg8(classes):
    layers, inputs = [], 3
    for block, width in enumerate((64, 128, 256, 512, 512)):
        layers.append(conv_norm(inputs, width, 3, bias=True))
        if block < 3:
            layers.append(nn.MaxPool2d(2))
        inputs = width
    return Plain(layers, inputs, classes)


def mobilenet_v2(classes):
    layers, inputs = [conv_norm(3, 16, 3, 2)], 16
    rows = [(1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2)]
    for expansion, width, blocks, stride in [*rows, (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1)]:
        for block in range(blocks):
            layers.append(Inverted(inputs, width, expansion, stride if block == 0 else 1))
            inputs = width
    return Plain([*layers, conv_norm(inputs, 1280, 1)], 1280, classes)


def shuffle_v2(classes):
    layers, inputs = [conv_norm(3, 24, 1)], 24
    for width, blocks in ((116, 4), (232, 8), (464, 4)):
        for block in range(blocks):
            layers.append(Shuffle(inputs, width, block == 0))
            inputs = width
    return Plain([*layers, conv_norm(inputs, 1024, 1)], 1024, classes)


def named(name, classes):
    """A network of faculty's table by its name."""
    others = {"vgg8": vgg8, "MobileNetV2": mobilenet_v2, "ShuffleV2": shuffle_v2}
    if name in others:
        return others[name](classes)
    if name.startswith("wrn"):
        _, depth, width = name.split("_")
        return wide_resnet(int(depth), int(width), classes)
    return ResNet.named(name, classes)
