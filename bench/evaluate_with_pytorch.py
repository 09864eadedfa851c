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
from networks import ResNet
from safetensors.torch import load_file
from torch.nn import functional


def main(name, weights, data):
    net = ResNet.named(name, 100)
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
