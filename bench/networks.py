"""CIFAR ResNets in PyTorch, for comparison."""

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
