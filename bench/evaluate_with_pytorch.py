"""Accuracy of a CIFAR ResNet on CIFAR-100 as PyTorch computes it, to hold against `faculty evaluate`.

    python bench/evaluate_with_pytorch.py resnet20 WEIGHTS DATA

WEIGHTS: .safetensors or .pth with PyTorch's names. DATA: the data set's folder as on the Hugging Face hub.
Needs torch, numpy, pyarrow, pillow, safetensors. Prints one JSON object.
"""

import io
import json
import pathlib
import sys

import numpy
import pyarrow.parquet
import torch
from PIL import Image
from safetensors.torch import load_file
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

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def main(name, weights, data):
    wide = name.endswith("x4")
    depth = int(name.removeprefix("resnet").removesuffix("x4"))
    net = ResNet(depth, (32, 64, 128, 256) if wide else (16, 16, 32, 64), 100)
    state = load_file(weights) if weights.endswith(".safetensors") else torch.load(weights)
    net.load_state_dict(state)
    net.eval()
    files = sorted(pathlib.Path(data).glob("test-*.parquet"))
    rows = pyarrow.parquet.read_table(files).to_pydict()
    images = next(column for key, column in rows.items() if key in ("img", "image"))
    pixels = numpy.stack([numpy.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in images])
    labels = torch.tensor(rows["fine_label"])
    mean = torch.tensor([0.5071, 0.4867, 0.4408]).view(1, 3, 1, 1)
    std = torch.tensor([0.2675, 0.2565, 0.2761]).view(1, 3, 1, 1)
    x = (torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
    with torch.no_grad():
        logits = torch.cat([net(part) for part in x.split(500)])
    top5 = (logits.topk(5).indices == labels[:, None]).any(1)
    result = {
        "top1": 100 * (logits.argmax(1) == labels).double().mean().item(),
        "top5": 100 * top5.double().mean().item(),
        "nll": functional.cross_entropy(logits.double(), labels).item(),
        "samples": len(labels),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
