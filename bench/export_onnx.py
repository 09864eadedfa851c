"""Writes the ONNX files of crates/distill/tests/onnx with PyTorch's exporter.

    python3 bench/export_onnx.py [FOLDER]        needs torch, onnx, onnxscript, safetensors

The network is resnet8x0.5 for 3 classes and grey 8x8 images, made with a fixed seed and with running
statistics that are not the start values:

    net.onnx            any batch, weights inside, metadata `class_names`
    net.safetensors     the same weights under the names that faculty reads
    batch2.onnx         the older exporter, batch of 2, and a reshape that insists on it
    two_outputs.onnx    logits and the last map as outputs
"""

import json
import pathlib
import sys

import onnx
import torch
from safetensors.torch import save_file

from networks import ResNet

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "crates" / "distill" / "tests" / "onnx"


class Grey(ResNet):
    """resnet8x0.5 for one channel."""

    def __init__(self):
        super().__init__(8, (8, 8, 16, 32), 3)
        self.conv1 = torch.nn.Conv2d(1, 8, 3, 1, 1, bias=False)


class Reshaped(torch.nn.Module):
    def __init__(self, net, batch):
        super().__init__()
        self.net, self.batch = net, batch

    def forward(self, x):
        _, features = self.net.with_map(x)
        pooled = torch.nn.functional.adaptive_avg_pool2d(features, 1)
        return self.net.fc(pooled.reshape(self.batch, 32))


class Both(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.with_map(x)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    net = Grey()
    with torch.no_grad():
        net.fc.weight.mul_(8)
        for _ in range(20):
            net(torch.randn(16, 1, 8, 8))
    net.eval()
    image = torch.randn(2, 1, 8, 8)
    weights = {k: v.contiguous() for k, v in net.state_dict().items() if "num_batches" not in k}
    save_file(weights, folder / "net.safetensors")
    free = {"x": {0: torch.export.Dim("batch")}}
    names = {"input_names": ["image"], "output_names": ["logits"]}
    torch.onnx.export(
        net, (image,), folder / "net.onnx", dynamic_shapes=free, external_data=False, **names
    )
    model = onnx.load(folder / "net.onnx")
    strip(model)
    model.metadata_props.add(key="class_names", value=json.dumps(["top", "middle", "bottom"]))
    onnx.save(model, folder / "net.onnx")
    torch.onnx.export(Reshaped(net, 2), (image,), folder / "batch2.onnx", dynamo=False, **names)
    names["output_names"] = ["logits", "features"]
    torch.onnx.export(Both(net), (image,), folder / "two_outputs.onnx", dynamo=False, **names)


def strip(model):
    """Without the exporter's notes, which name files of the machine that ran it."""
    graph = model.graph
    for item in [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        del item.metadata_props[:]
        item.doc_string = ""


if __name__ == "__main__":
    main()
