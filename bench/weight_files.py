#!/usr/bin/env python3
"""Weight files as PyTorch writes them, for the tests of `crates/nets`.

One small network, saved in the ways of training scripts; values are multiples of 1/8, so that every
kind of number holds them.

    pip install torch numpy
    python3 bench/weight_files.py crates/nets/tests/weight_files
"""

import collections
import io
import pathlib
import pickle
import struct
import sys
import tarfile

import torch
from torch import nn


class Net(nn.Module):
    """1×8×8 to 3 classes: 2 channels, one block of a convolution and a batch norm."""

    def __init__(self, head=None):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.layer1 = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2))
        self.fc = head or nn.Linear(2, 3)

    def forward(self, x):
        return self.fc(torch.relu(self.layer1(torch.relu(self.conv1(x)))).mean((2, 3)))


def net(offset=0, head=None):
    network = Net(head)
    start = offset
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                count = tensor.numel()
                tensor.copy_((torch.arange(count) + start).reshape(tensor.shape) / 8)
                start += count
    return network


def under(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def checkpoint():
    """Everything that lies beside weights."""
    network = net()
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    weights = net().state_dict()
    return {
        "epoch": 3,
        "state_dict": under("model.", weights)
        | {
            "criterion.weight": torch.ones(3),
            "metric.total": torch.tensor(5),
            "idx": torch.arange(3, dtype=torch.uint8),
            "mask": torch.tensor([True, False]),
            "model.scale8": torch.ones(2).to(torch.float8_e4m3fn),
            "empty": torch.zeros(0),
        },
        "optimizer": optimizer.state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2),
        "history": collections.deque([0.1, torch.tensor(0.2)], maxlen=5),
        "meters": collections.defaultdict(list, loss=[1.0, 2.0]),
        "sparse": torch.eye(3).to_sparse(),
        "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "complex": torch.ones(2, dtype=torch.complex64),
        "none": None,
    }


def mixed():
    """Numbers of other kinds, and tensors that are views of others."""
    state = net().state_dict()
    state["conv1.weight"] = state["conv1.weight"].half()
    state["layer1.0.weight"] = state["layer1.0.weight"].bfloat16()
    state["fc.weight"] = state["fc.weight"].double().t().contiguous().t()
    state["fc.bias"] = nn.Parameter(torch.cat([torch.zeros(4), state["fc.bias"]])[4:])
    return state


def tar(state):
    """The format before PyTorch 0.1.10, as `torch.load` reads it."""

    def packed(*objects):
        return b"".join(pickle.dumps(one, 2) for one in objects)

    storages, tensors = packed(len(state)), packed(len(state))
    for key, tensor in enumerate(state.values()):
        kind = "LongStorage" if tensor.dtype == torch.int64 else "FloatStorage"
        storages += packed((key, "cpu", getattr(torch, kind))) + struct.pack("<q", tensor.numel())
        storages += tensor.numpy().tobytes()
        tensors += packed((100 + key, key, torch.FloatTensor)) + struct.pack("<ii", tensor.dim(), 0)
        tensors += struct.pack(f"<{2 * tensor.dim()}q", *tensor.shape, *tensor.stride())
        tensors += struct.pack("<q", 0)
    storages += packed([])

    class Outside(pickle.Pickler):
        def persistent_id(self, given):
            return str(given.key) if isinstance(given, Reference) else None

    file = io.BytesIO()
    objects = collections.OrderedDict(
        (name, Reference(100 + key)) for key, name in enumerate(state)
    )
    Outside(file, 2).dump(objects)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:", format=tarfile.PAX_FORMAT) as out:
        parts = {"sys_info": packed({}), "pickle": file.getvalue(), "storages": storages}
        for name, content in (parts | {"tensors": tensors}).items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            out.addfile(about, io.BytesIO(content))
    return archive.getvalue()


class Reference:
    def __init__(self, key):
        self.key = key


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    plain = net().state_dict()
    torch.save(checkpoint(), folder / "checkpoint.pth")
    torch.save(mixed(), folder / "mixed.pth")
    torch.save(plain, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(mixed(), folder / "legacy1.pth", pickle_protocol=1, _use_new_zipfile_serialization=False)
    ema = {"state_dict": net(8).state_dict(), "state_dict_ema": plain}
    torch.save(ema, folder / "ema.pth.tar")
    head = net(head=nn.Sequential(nn.Dropout(), nn.Linear(2, 3)))
    torch.save(head.state_dict(), folder / "dropout_head.pth")
    torch.save(net(), folder / "module.pth")
    torch.save(list(plain.values()), folder / "list.pth")
    (folder / "tar.pth").write_bytes(tar(plain))
    read = torch.load(folder / "tar.pth", weights_only=False)
    assert all(torch.equal(read[name], tensor) for name, tensor in plain.items())


main()
