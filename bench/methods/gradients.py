"""One-step gradients of every method in float64, from the formulas: the references of
crates/distill/tests/golden.

    python3 bench/methods/gradients.py                 # all pairs of networks
    python3 bench/methods/gradients.py resnet --only dkd           # shows it
    python3 bench/methods/gradients.py --only reviewkd --write     # in the files that are there

Needs torch, numpy, safetensors. Networks, trained parts, images and costs are functions of their
names, here and in crates/distill/tests/it/gradients.rs: `filled` says how. A file holds for each method
its loss and, for each trained array in the order of the names, the gradient's norm and its products with
four directions of ±1.
"""

import argparse
import pathlib

import numpy
import torch
from safetensors.torch import load_file, save_file

import draws
from nets import NETWORKS, Scope, Values
from step import METHODS, Step, student_outputs, teacher_count

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "crates" / "distill" / "tests" / "golden"
# Student, teachers, side of the images, and their name: of some, those were taken at which no ReLU of the
# student reads a value that rounding in f32 might give the other sign.
PAIRS = {
    "resnet": ("resnet8x0.5", ["resnet8", "resnet14"], 16, "images"),
    "wrn": ("wrn_16_1", ["wrn_16_1", "wrn_16_2"], 16, "images"),
    "vgg": ("vgg8", ["vgg8", "vgg8"], 16, "images.5"),
    "mobilenet": ("MobileNetV2", ["MobileNetV2", "resnet8"], 32, "images"),
}
BATCH, CLASSES, EPOCH, DRAW = 8, 10, 2, 77
DIRECTIONS = 4


def filled(name, shape):
    """Weights of two and more dimensions normal with variance 2/fan-in, banks with 1/width, those of
    teachers, which no batch norm holds to a size, with 1/fan-in and their classifiers with 8/fan-in;
    scales 1 and shifts 0, running ones too, with normal noise of 0.1."""
    noise = torch.from_numpy(draws.normals(1, name, int(numpy.prod(shape)))).reshape(shape)
    if name.endswith("running_var"):
        return 1 + 0.1 * noise.square()
    if len(shape) == 1:
        return (1.0 if name.endswith(".weight") else 0.0) + 0.1 * noise
    variance = 1 if name.startswith("memory/") else 2
    if name.startswith("teacher."):
        variance = 8 if len(shape) == 2 else 1
    return noise * (variance / int(numpy.prod(shape[1:]))) ** 0.5


def rounded(name, shape):
    """As faculty has it, in f32."""
    return filled(name, shape).float().double()


def profiles(count):
    """What a validation part might say."""
    rows = [(40.0, 0.7), (60.0, 1.5)][:count]
    return [
        {
            "accuracy": top1 / 100,
            "temperature": temperature,
            "class_right": [20 * min(top1 + 10 * c, 100) / 100 for c in range(CLASSES)],
            "class_samples": [20] * CLASSES,
        }
        for top1, temperature in rows
    ]


def class_cost(k):
    cost = torch.from_numpy(draws.units(1, f"cost.{k}", CLASSES**2)).reshape(CLASSES, CLASSES)
    return cost / cost.max()


def one_step(method, pair):
    """The loss, and gradients by name."""
    student, teachers, side, name = PAIRS[pair]
    teachers = teachers[: teacher_count(method, len(teachers))]
    images = rounded(name, (BATCH, 3, side, side)) * (3 * side * side / 2) ** 0.5
    images = images.float().double()
    frozen = Values(rounded, trained=False)
    said = [
        NETWORKS[name](Scope(frozen, f"teacher.{k}/", train=False), images, CLASSES).detached()
        for k, name in enumerate(teachers)
    ]
    labels = torch.arange(BATCH).square() % CLASSES
    values = Values(rounded)
    own = student_outputs(method, student, values, images, CLASSES, said)
    step = Step(values, own, said, labels, EPOCH, DRAW)
    step.profiles = profiles(len(said))
    step.costs = [class_cost(k) for k in range(len(said))]
    step.sample_labels, step.places = labels.repeat(2), torch.arange(BATCH)
    if method == "crd":
        for k in range(len(said)):
            for end in ("student", "teacher"):
                name = f"bank.{k}.{end}"
                step.memory[name] = rounded(f"memory/{name}", (2 * BATCH, 128))
    loss = METHODS[method](step)
    names = sorted(values.leaves)
    gradients = torch.autograd.grad(loss, [values.leaves[n] for n in names], allow_unused=True)
    zeros = [torch.zeros_like(values.leaves[n]) for n in names]
    return loss.item(), {n: z if g is None else g for n, g, z in zip(names, gradients, zeros)}


def seen(name, gradient):
    """Norm, and products with directions whose signs are the bits of sixteenths of a stream."""
    flat = gradient.flatten()
    code = (16 * draws.units(2, name, len(flat))).astype(numpy.int64)
    signs = [torch.from_numpy(1.0 - 2.0 * (code >> bit & 1)) for bit in range(DIRECTIONS)]
    return torch.stack([flat.norm(), *(flat @ sign for sign in signs)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="*", default=list(PAIRS))
    parser.add_argument("--only", help="these methods alone, printed")
    parser.add_argument("--write", action="store_true", help="and put into the files")
    arguments = parser.parse_args()
    for pair in arguments.pairs or PAIRS:
        path = GOLDEN / f"gradients_{pair}.safetensors"
        tensors = load_file(path) if arguments.only and arguments.write else {}
        for method in METHODS:
            if arguments.only and method not in arguments.only.split(","):
                continue
            loss, gradients = one_step(method, pair)
            rows = torch.stack([seen(name, g) for name, g in gradients.items()])
            assert rows.isfinite().all(), method
            tensors[f"out.{method}.loss"] = torch.tensor([loss])
            tensors[f"out.{method}"] = rows.float()
            print(f"{pair:10} {method:22} loss {loss:12.6f}, {len(rows)} arrays", flush=True)
            if arguments.only:
                for name, row in zip(gradients, rows):
                    print(f"  {name:40} " + " ".join(f"{v:12.5g}" for v in row))
        if arguments.write or not arguments.only:
            GOLDEN.mkdir(exist_ok=True)
            save_file(tensors, path, {"case": "gradients", "params": "{}", "pair": pair})


if __name__ == "__main__":
    main()
