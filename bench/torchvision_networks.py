"""What torchvision makes of its networks, for those of the same names here.

    python bench/torchvision_networks.py crates/nets/tests/torchvision

Weights are computed from names and places, so that NAME.safetensors holds none: `input`, in inference
mode `logits` and the taps `tap.0`, …, and in training mode, without dropout and stochastic depth, for
the loss `sum(logits * direction)` the gradients `grad.PARAMETER` of some parameters. Its metadata have
names and shapes of all tensors.

Needs torch, torchvision, safetensors.
"""

import json
import os
import sys
import zlib

import numpy as np
import torch
import torchvision
from safetensors.numpy import save_file

CLASSES, BATCH, SIDE = 10, 2, 96
# Behind which modules there is a tap.
TAPS = {
    "mobilenet_v3_small": ["features.0", "features.1", "features.3", "features.8", "features.12", "classifier.1"],
    "mobilenet_v3_large": ["features.1", "features.3", "features.6", "features.12", "features.16", "classifier.1"],
    "efficientnet_b0": ["features.1", "features.2", "features.3", "features.5", "features.8", "avgpool"],
}
GRADIENTS = 1500  # numbers of a parameter, at most


def noise(name, count):
    """Numbers in -1 .. 1 from a name and places."""
    seed = np.uint64(zlib.crc32(name.encode()) * 0xBF58476D1CE4E5B9 % 2**64)
    places = np.arange(1, count + 1, dtype=np.uint64)
    mixed = (places * np.uint64(0x9E3779B97F4A7C15)) ^ seed
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
    return (mixed >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0


def values(name, shape):
    count = int(np.prod(shape))
    x = noise(name, count)
    if name.endswith("running_var"):
        x = 1.0 + 0.3 * x
    elif name.endswith("running_mean"):
        x = 0.2 * x
    elif len(shape) > 1:
        x = x * np.sqrt(6.0 / np.prod(shape[1:]))
    elif name.endswith("weight"):
        x = 1.0 + 0.3 * x
    else:
        x = 0.2 * x
    return x.astype(np.float32).reshape(shape)


def make(name):
    net = getattr(torchvision.models, name)(weights=None, num_classes=CLASSES)
    state = {key: value for key, value in net.state_dict().items() if "num_batches" not in key}
    net.load_state_dict({key: torch.from_numpy(values(key, tuple(value.shape))) for key, value in state.items()},
                        strict=False)
    images = torch.from_numpy(noise("input", BATCH * 3 * SIDE * SIDE).astype(np.float32)).view(BATCH, 3, SIDE, SIDE)
    tensors = {}
    hooks = [
        net.get_submodule(module).register_forward_hook(
            lambda _, __, result, at=at: tensors.update({f"tap.{at}": result.detach().flatten(2)})
            if result.dim() == 4 and result.shape[2] > 1
            else tensors.update({f"tap.{at}": result.detach().flatten(1)})
        )
        for at, module in enumerate(TAPS[name])
    ]
    net.eval()
    with torch.no_grad():
        tensors["logits"] = net(images)
    for hook in hooks:
        hook.remove()
    # Maps are large: their channels' means are enough to tell them apart.
    tensors = {key: x.mean(2) if x.dim() == 3 else x for key, x in tensors.items()}
    net.train()
    for module in net.modules():
        if isinstance(module, (torch.nn.Dropout, torchvision.ops.StochasticDepth)):
            module.eval()
    logits = net(images)
    direction = torch.from_numpy(noise("direction", BATCH * CLASSES).astype(np.float32)).view(BATCH, CLASSES)
    (logits * direction).sum().backward()
    small = [(key, p) for key, p in net.named_parameters() if p.numel() <= GRADIENTS]
    for key, parameter in small[:: max(1, len(small) // 12)] + small[-1:]:
        tensors[f"grad.{key}"] = parameter.grad
    shapes = {key: list(value.shape) for key, value in state.items()}
    return {key: np.ascontiguousarray(x.numpy(), np.float32) for key, x in tensors.items()}, shapes


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name in TAPS:
        tensors, shapes = make(name)
        save_file(tensors, os.path.join(folder, f"{name}.safetensors"),
                  {"torchvision": torchvision.__version__, "state": json.dumps(shapes, separators=(",", ":"))})
        print(name, tensors["logits"][0, :3], {k: v.shape for k, v in tensors.items()})


if __name__ == "__main__":
    main()
