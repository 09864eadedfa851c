"""Trains the demo's student by every method, from the formulas, on the same batches as faculty.

    python3 bench/methods/train.py RUN OUTPUT --methods ce,kd --seeds 1,2 --faculty target/release/faculty
    python3 bench/methods/train.py RUN OUTPUT --table FACULTYS_RUNS      # what is done, beside faculty's

RUN: the folder that `faculty demo` wrote (`runs/demo`). Order, views, split and draws are recomputed from
their hashes; start values are those of a faculty run of one batch at a learning rate of 1e-30. Runs that
are done are not repeated. Needs torch, numpy, safetensors. `dih` and `ikd` are not trained here: they
train their teachers or parts of them. That both sides see the same is what first_batch.py shows.
"""

import argparse
import csv
import gzip
import io
import json
import math
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy
import torch
from safetensors.torch import load_file
from torch.nn import functional

import draws
import several
from nets import NETWORKS, Outputs, Scope, Values
from step import METHODS, ONE_TEACHER, Step, student_outputs, teacher_count

STUDENT, CLASSES, BATCH, PAD, VIEWS, EPOCHS = "resnet8x0.5", 10, 64, 2, 2, 6
MEAN, DEVIATION, RATE, MOMENTUM, DECAY = 0.286, 0.353, 0.05, 0.9, 5e-4
TEACHERS = (("ada", "resnet14"), ("ben", "resnet8"), ("mal", "resnet8"))
SPLIT_SEED, VALIDATION = 20_250_101, 0.1
NOT_TRAINED = ("dih", "ikd")
# Those that read a teacher's logits and last map alone, which are kept for each view.
READ_MAPS = ("fitnet", "fitnet-mkd", "at", "vid", "semckd", "reviewkd")


def idx(path):
    data = gzip.decompress(path.read_bytes())
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    values = numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * len(shape))
    return torch.from_numpy(values.copy()).reshape(shape)


class Data:
    """The demo's part of Fashion-MNIST, split as faculty splits it."""

    def __init__(self, run, faculty, samples=None):
        """All of it, or the subset of `data.train_samples`."""
        folder = run / "fashion-mnist"
        command = [faculty, "datasets", str(folder), "--ids"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows = [row for row in csv.DictReader(io.StringIO(text)) if row["part"] == "train"]
        ids = numpy.array([int(row["id"], 16) for row in rows], dtype=numpy.uint64)
        images = idx(folder / "train-images-idx3-ubyte.gz")
        labels = idx(folder / "train-labels-idx1-ubyte.gz").long()
        assert [int(row["label"]) for row in rows] == labels.tolist()
        held = draws.unit(draws.draw(draws.SPLIT, SPLIT_SEED, ids, 0, 0)) < VALIDATION
        there = numpy.ones(len(ids), bool)
        if samples is not None:
            there[draws.draw(draws.SUBSET, 0, ids, 0, 0).argsort()[samples:]] = False
        mine, kept = torch.from_numpy(there & ~held), torch.from_numpy(there & held)
        self.ids, self.images, self.labels = ids[mine.numpy()], images[mine], labels[mine]
        self.validation = (self.plain(images[kept]), labels[kept])
        self.test = (
            self.plain(idx(folder / "t10k-images-idx3-ubyte.gz")),
            idx(folder / "t10k-labels-idx1-ubyte.gz").long(),
        )
        # Places in the order of the ids, as banks have them.
        self.places = torch.from_numpy(self.ids.argsort().argsort())

    @staticmethod
    def plain(images):
        return ((images.float() / 255 - MEAN) / DEVIATION)[:, None]

    def view(self, seed, number):
        """All training images in one of their views."""
        side = self.images.shape[1]
        word = [draws.draw(draws.VIEWS, seed, self.ids, number, c) for c in range(3)]
        top, left = (torch.from_numpy(draws.below(w, 2 * PAD + 1).astype(numpy.int64)) for w in word[:2])
        flipped = torch.from_numpy(word[2] >> numpy.uint64(63) == 1)
        padded = functional.pad(self.images, (PAD, PAD, PAD, PAD))
        steps = torch.arange(side)
        columns = torch.where(flipped[:, None], side - 1 - steps, steps) + left[:, None]
        rows = steps + top[:, None]
        every = torch.arange(len(padded))[:, None, None]
        return self.plain(padded[every, rows[:, :, None], columns[:, None, :]])

    def order(self, seed, epoch):
        return torch.from_numpy(draws.draw(draws.ORDER, seed, epoch, self.ids, 0).argsort(kind="stable"))


def rate(epoch, step, steps):
    """One cycle, PyTorch's constants."""
    progress = ((epoch - 1) + step / steps) / EPOCHS

    def cosine(start, end, share):
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    if progress < 0.3:
        return RATE * cosine(1 / 25, 1.0, progress / 0.3)
    return RATE * cosine(1.0, 1 / 25e4, (progress - 0.3) / 0.7)


def start_of(run, faculty, method, seed):
    """Start values by name, from a run of one batch that learns nothing."""
    text = (run / "distill.toml").read_text()
    if teacher_count(method, 3) < 3:
        head, rest = text.split("[[teachers]]", 1)
        first = rest.split("[[teachers]]", 1)[0]
        tail = "[method]" + rest.split("[method]", 1)[1]
        text = head + ("[[teachers]]" + first if method in ONE_TEACHER else "") + tail
    handle, name = tempfile.mkstemp(suffix=".toml", dir=run)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    with tempfile.TemporaryDirectory() as folder:
        values = {
            "method.name": method,
            "seed": seed,
            "train.learning_rate": 1e-30,
            "train.weight_decay": 0,
            # The connectors of a warm-up of one epoch are there with two.
            "train.epochs": 2 if method == "ca-mkd" else 1,
            "data.train_samples": 80,
        }
        verb = "train" if method == "ce" else "distill"
        command = [faculty, verb, name, "--output", f"{folder}/run", "--no-report"]
        for key, value in values.items():
            command += ["--set", f"{key}={value}"]
        environment = os.environ | {"RAYON_NUM_THREADS": "1"}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        os.unlink(name)
        state = load_file(f"{folder}/run/checkpoints/last.safetensors")
    fresh = {}
    for key, value in state.items():
        if key.endswith("running_mean") or key.endswith("running_var"):
            value = torch.full_like(value, float(key.endswith("running_var")))
        fresh[key] = value
    return fresh


class Teachers:
    """Their outputs, of batches or kept for a view."""

    def __init__(self, run, names):
        self.nets = []
        for name, network in names:
            weights = load_file(run / "teachers" / f"{name}.safetensors")
            self.nets.append((network, Values(lambda key, _, own=weights: own[key], trained=False)))

    @torch.no_grad()
    def outputs(self, images):
        return [
            NETWORKS[network](Scope(values, "", train=False), images, CLASSES).detached()
            for network, values in self.nets
        ]

    def all_outputs(self, images):
        """Logits and maps of all images, and each classifier."""
        parts = []
        for part in images.split(256):
            parts.append([(own.logits, own.map, own.classifier) for own in self.outputs(part)])
        return [
            (torch.cat([own[0] for own in each]), torch.cat([own[1] for own in each]), each[0][2])
            for each in zip(*parts)
        ]


def chosen(kept, places):
    """Outputs of some samples from what is kept."""
    return [
        Outputs(z[places], [None, None, None, m[places]], [], m[places], classifier)
        for z, m, classifier in kept
    ]


def profile(logits, labels):
    """Accuracy, by class, and the temperature with the least cross-entropy."""
    right = logits.argmax(1) == labels
    seen = [(labels == c).sum().item() for c in range(CLASSES)]
    low, high = math.log(0.05), math.log(20.0)
    for _ in range(60):
        thirds = [low + (high - low) * share / 3 for share in (1, 2)]
        losses = [functional.cross_entropy(logits.double() / math.exp(t), labels) for t in thirds]
        low, high = (low, thirds[1]) if losses[0] < losses[1] else (thirds[0], high)
    return {
        "accuracy": right.double().mean().item(),
        "temperature": math.exp((low + high) / 2),
        "class_right": [(right & (labels == c)).sum().item() for c in range(CLASSES)],
        "class_samples": seen,
    }


def class_cost(kept, labels):
    """1 - cos between a teacher's classifier rows and its mean pooled vectors; 0 between the same."""
    _, maps, (weight, _) = kept
    pooled = maps.mean((2, 3)).double()
    means = torch.stack([pooled[labels == c].mean(0) for c in range(CLASSES)])
    rows, means = functional.normalize(weight.double()), functional.normalize(means)
    cost = (1 - rows @ means.T).clamp_min(0).fill_diagonal_(0)
    return cost / cost.max()


class Run:
    """One student in training."""

    def __init__(self, run, data, faculty, method, seed):
        self.data, self.method, self.seed = data, method, seed
        self.start = start_of(run, faculty, method, seed)
        self.values = Values(lambda name, _: self.start[name])
        self.teachers = Teachers(run, TEACHERS[: teacher_count(method, 3)])
        self.velocity, self.memory, self.kept = {}, {}, {}
        self.views = [data.view(seed, number) for number in range(VIEWS)]
        self.profiles, self.costs = [], []
        if method in ("calibrated-confidence", "class-reliability", "best-teacher"):
            images, labels = data.validation
            self.profiles = [profile(z, labels) for z, *_ in self.teachers.all_outputs(images)]
        if method == "ot":
            kept = self.keep(0)
            self.costs = [class_cost(own, data.labels) for own in kept]
        if method == "crd":
            count, bound = len(data.labels), (3 / 128) ** 0.5
            for k in range(len(self.teachers.nets)):
                for side in ("student", "teacher"):
                    name = f"bank.{k}.{side}"
                    bank = (2 * draws.units(seed, name, count * 128) - 1) * bound
                    self.memory[name] = torch.from_numpy(bank).float().reshape(count, 128)
        if method == "mmkd":
            self.meta = Meta(self)
            # The first batch has had a meta step: the networks begin where their names say.
            for name in [n for n in self.start if n.startswith("method/")]:
                shape = self.start[name].shape
                fan_in = self.start[name.replace("bias", "weight")].shape[1]
                drawn = 2 * draws.units(seed, name.removeprefix("method/"), shape.numel()) - 1
                self.start[name] = torch.from_numpy(drawn / fan_in**0.5).float().reshape(shape)

    def keep(self, view):
        if view not in self.kept:
            self.kept[view] = self.teachers.all_outputs(self.views[view])
        return self.kept[view]

    def said(self, view, places, images):
        if not self.teachers.nets:
            return []
        if self.method in READ_MAPS:
            return self.teachers.outputs(images)
        return chosen(self.keep(view), places)

    def step(self, images, labels, said, epoch, number, values=None):
        values = values or self.values
        own = student_outputs(self.method, STUDENT, values, images, CLASSES, said)
        return Step(values, own, said, labels, epoch, number, self.profiles, self.costs, memory=self.memory)

    def loss(self, epoch, number, places):
        view = (epoch - 1) % VIEWS
        images, labels = self.views[view][places], self.data.labels[places]
        word = int(draws.draw(draws.METHOD, self.seed, epoch, number, 0))
        said = self.said(view, places, images)
        step = self.step(images, labels, said, epoch, word)
        if self.method == "crd":
            order = self.data.places.argsort()
            step.sample_labels, step.places = self.data.labels[order], self.data.places[places]
        return METHODS[self.method](step), step, images

    def gradients(self, loss):
        names = list(self.values.leaves)
        leaves = [self.values.leaves[name] for name in names]
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        return {n: g for n, g in zip(names, gradients) if g is not None}

    @torch.no_grad()
    def update(self, gradients, eta):
        for name, g in gradients.items():
            leaf = self.values.leaves[name]
            g = g + DECAY * leaf
            old = self.velocity.get(name)
            v = self.velocity[name] = g if old is None else MOMENTUM * old + g
            leaf -= eta * (g + MOMENTUM * v)

    def epoch(self, epoch):
        order = self.data.order(self.seed, epoch)
        steps = len(order) // BATCH
        total = 0.0
        for index in range(steps):
            places = order[index * BATCH : (index + 1) * BATCH]
            loss, step, images = self.loss(epoch, index + 1, places)
            eta = rate(epoch, index, steps)
            self.update(self.gradients(loss), eta)
            self.memory.update(step.writes)
            if self.method == "mmkd":
                self.meta.after(step, images, eta)
            total += loss.item()
            if not math.isfinite(total):
                raise FloatingPointError(f"epoch {epoch}, batch {index + 1}")
        if self.method == "ckd":
            self.set_offsets(epoch, order[: steps * BATCH])
        return total / steps

    @torch.no_grad()
    def set_offsets(self, epoch, trained):
        """The last bias, so that the mean logits over the views become those of labels and teachers."""
        view = (epoch - 1) % VIEWS
        teachers = torch.stack([z[trained] for z, *_ in self.keep(view)]).mean(0)
        labels = functional.one_hot(self.data.labels[trained], CLASSES)
        means = self.memory.setdefault("targets", [])
        means.append(((labels + teachers) / 2).double().mean(0))
        target = torch.stack(means).mean(0)
        found = self.logits(self.views[view]).double().mean(0)
        self.values.leaves["student/fc.bias"] += (target - found).float()

    @torch.no_grad()
    def logits(self, images):
        parts = []
        for part in images.split(500):
            said = self.teachers.outputs(part[:2]) if self.method == "simkd" else []
            parts.append(
                student_outputs(self.method, STUDENT, self.values, part, CLASSES, said, train=False).logits
            )
        return torch.cat(parts)

    def accuracy(self, part):
        images, labels = part
        return 100 * (self.logits(images).argmax(1) == labels).double().mean().item()


class Meta:
    """MMKD's weight networks: Adam on the exact gradient through all inner steps."""

    CAPACITY, PLACES, TAKEN, REPLACED = 256, 0x6D656D6F, 1, 2

    def __init__(self, run):
        self.run, self.batches, self.rows, self.moments, self.steps = run, 0, None, {}, 0

    def after(self, step, images, eta):
        rows = [images, step.labels]
        for t in step.teachers:
            rows += [t.logits, t.map]
        full = self.rows is not None and len(self.rows[1]) >= self.CAPACITY
        if self.rows is None:
            self.rows = [row.clone() for row in rows]
        elif not full:
            room = self.CAPACITY - len(self.rows[1])
            self.rows = [torch.cat([old, row[:room]]) for old, row in zip(self.rows, rows)]
        else:
            missed = (step.student.logits.argmax(1) != step.labels).nonzero().flatten().tolist()
            places = self.places(step.draw, self.REPLACED, len(missed))
            for sample, place in zip(missed, places):
                for old, row in zip(self.rows, rows):
                    old[place] = row[sample]
        due = self.batches % 5 == 0
        self.batches += 1
        if due:
            places = self.places(step.draw, self.TAKEN, BATCH)
            images, labels, *rest = [row[places] for row in self.rows]
            classifiers = [t.classifier for t in step.teachers]
            said = [
                Outputs(z, [], [], m, c) for z, m, c in zip(rest[::2], rest[1::2], classifiers)
            ]
            self.learn(images, labels, said, step, eta)

    def places(self, number, purpose, count):
        count = min(count, len(self.rows[1]))
        return draws.shuffled_front(number, len(self.rows[1]), count, self.PLACES, None, purpose)

    def learn(self, images, labels, said, step, eta):
        run = self.run
        networks = {n: v for n, v in run.values.leaves.items() if n.startswith("method/")}
        moved = {n: v for n, v in run.values.leaves.items() if n not in networks}
        velocity = {n: run.velocity.get(n, torch.zeros_like(v)) for n, v in moved.items()}

        def at_current():
            return run.step(images, labels, said, step.epoch, step.draw, run.values.with_leaves(moved))

        for inner in range(3):
            s = at_current()
            if inner < 2:
                loss = several.mmkd_matching(s, several.mmkd_weights(s))
            else:
                loss = functional.cross_entropy(s.student.logits, labels)
            names = list(moved)
            gradients = torch.autograd.grad(
                loss, [moved[n] for n in names], create_graph=True, allow_unused=True
            )
            for name, g in zip(names, gradients):
                g = DECAY * moved[name] + (0.0 if g is None else g)
                velocity[name] = MOMENTUM * velocity[name] + g
                moved[name] = moved[name] - eta * (g + MOMENTUM * velocity[name])
        meta = functional.cross_entropy(at_current().student.logits, labels)
        gradients = torch.autograd.grad(meta, list(networks.values()))
        self.steps += 1
        with torch.no_grad():
            for (name, leaf), g in zip(networks.items(), gradients):
                g = g + 1e-4 * leaf
                m, v = self.moments.get(name, (torch.zeros_like(g), torch.zeros_like(g)))
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g.square()
                self.moments[name] = (m, v)
                root = (v / (1 - 0.999**self.steps)).sqrt() + 1e-8
                leaf -= 1e-3 * m / (1 - 0.9**self.steps) / root


def train(run, data, faculty, method, seed):
    began = time.time()
    own = Run(run, data, faculty, method, seed)
    record = {"method": method, "seed": seed, "losses": [], "validation": []}
    for epoch in range(1, EPOCHS + 1):
        record["losses"].append(own.epoch(epoch))
        record["validation"].append(own.accuracy(data.validation))
    record["test"] = own.accuracy(data.test)
    record["seconds"] = time.time() - began
    return record


def faculty_result(folder):
    """Test top-1 after the last epoch, and the loss of each epoch."""
    card = json.loads((folder / "card.json").read_text())
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return card["last"]["test"]["top1"], [json.loads(line)["loss"] for line in lines]


def interval(differences):
    """Mean, and half the width of Student's 95 % interval."""
    count = len(differences)
    if count < 2:
        return statistics.mean(differences), math.nan
    quantile = [12.706, 4.303, 3.182, 2.776][count - 2]
    return statistics.mean(differences), quantile * statistics.stdev(differences) / count**0.5


def table(output, runs):
    print("| method | seeds | PyTorch | faculty | faculty − PyTorch | interval |")
    print("|---|---|---|---|---:|---|")
    for method in METHODS:
        pairs = []
        for path in sorted(output.glob(f"{method}-?.json")):
            folder = runs / path.stem
            # What a finished run leaves.
            if (folder / "student.safetensors").exists():
                record = json.loads(path.read_text())
                pairs.append((record["seed"], record["test"], faculty_result(folder)[0]))
        if not pairs:
            continue
        seeds, theirs, ours = zip(*pairs)
        mean, half = interval([b - a for a, b in zip(theirs, ours)])

        def shown(values):
            deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            return f"{statistics.mean(values):.2f}{deviation}"

        verdict = "one seed" if math.isnan(half) else f"{mean - half:+.2f} .. {mean + half:+.2f}"
        name = f"**{method}**" if not math.isnan(half) and abs(mean) > half else method
        cells = [name, ", ".join(map(str, seeds)), shown(theirs), shown(ours), f"{mean:+.2f}", verdict]
        print(f"| {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--faculty", default="target/release/faculty")
    parser.add_argument("--table", type=pathlib.Path, help="folder of faculty's runs, METHOD-SEED each")
    arguments = parser.parse_args()
    if arguments.table:
        table(arguments.output, arguments.table)
        return
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    data = Data(arguments.run, arguments.faculty)
    for method in arguments.methods.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            path = arguments.output / f"{method}-{seed}.json"
            if method in NOT_TRAINED or path.exists():
                continue
            record = train(arguments.run, data, arguments.faculty, method, seed)
            path.write_text(json.dumps(record))
            print(f"{method} {seed}: {record['test']:.2f} % in {record['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
