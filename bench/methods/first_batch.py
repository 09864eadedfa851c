"""The gradient of a first batch on the demo's data, faculty's beside ours, for every method.

    python3 bench/methods/first_batch.py RUN --faculty target/release/faculty --methods kd,at

RUN: the folder that `faculty demo` wrote. Faculty's comes from its momentum after one batch of a run of 80
samples without weight decay. A small difference means that data, split, order, views, start, teachers and
the loss are the same. Not of `ca-mkd`, whose run has two batches for its maps' sake, and of methods
whose facts come from the whole validation or training part.
"""

import argparse
import pathlib

import torch

from step import METHODS
from train import BATCH, NOT_TRAINED, Data, Run

OTHERWISE = ("ca-mkd", "calibrated-confidence", "class-reliability", "best-teacher", "ot", *NOT_TRAINED)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--methods")
    parser.add_argument("--faculty", default="target/release/faculty")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = Data(arguments.run, arguments.faculty, samples=80)
    everything = [name for name in METHODS if name not in OTHERWISE]
    for method in arguments.methods.split(",") if arguments.methods else everything:
        run = Run(arguments.run, data, arguments.faculty, method, seed=1)
        loss, *_ = run.loss(1, 1, data.order(1, 1)[:BATCH])
        parts = {}
        for name, ours in run.gradients(loss).items():
            theirs = run.start[f"optimizer.momentum/{name}"]
            sums = parts.setdefault(name.split("/")[0].split(".")[0], [0.0, 0.0])
            sums[0] += (theirs - ours).double().square().sum().item()
            sums[1] += ours.double().square().sum().item()
        shown = ", ".join(f"{part} {(a / b) ** 0.5:.1e}" for part, (a, b) in parts.items())
        print(f"{method:22} loss {loss.item():10.4f}   relative difference: {shown}", flush=True)


if __name__ == "__main__":
    main()
