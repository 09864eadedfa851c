"""Time of an epoch from the cache: plain training, then 1, 3 and 5 teachers, logits only and with maps.

    cargo build --release
    python3 bench/cache_epochs.py --data data/cifar100 --samples 5000 --student resnet8 \
        --teacher resnet20=runs/cifar100/resnet20/student.safetensors \
        --teacher resnet14=runs/cifar100/resnet14/student.safetensors

Fewer than five teachers are repeated under other names. The variants take turns, so that a busy moment hits all
of them, and the fastest epoch of each counts. Needs nothing but Python.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--faculty", default="target/release/faculty")
parser.add_argument("--data", required=True)
parser.add_argument("--samples", type=int, help="training images to use")
parser.add_argument("--student", default="resnet8")
parser.add_argument("--teacher", action="append", required=True, metavar="NETWORK=FILE")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--views", type=int, default=2)
parser.add_argument("--dtype", default="f32")
parser.add_argument("--live", action="store_true", help="also with live teachers that are run in every epoch")
options = parser.parse_args()


def recipe(teachers, method, cache, views):
    """A recipe of the first `teachers` teachers."""
    text = f'seed = 1\n[data]\npath = "{pathlib.Path(options.data).resolve()}"\n'
    if views:
        text += f"views = {views}\n"
    if options.samples:
        text += f"train_samples = {options.samples}\n"
    text += f'[student]\nnetwork = "{options.student}"\n[method]\n{method}\n'
    text += f"[train]\nepochs = {options.epochs}\nevaluate_every = {options.epochs}\n"
    for number in range(teachers):
        network, weights = options.teacher[number % len(options.teacher)].split("=", 1)
        text += f'[[teachers]]\nname = "t{number}"\nnetwork = "{network}"\nallow_weak = true\n'
        text += f'weights = "{pathlib.Path(weights).resolve()}"\n'
    if cache:
        text += f'[cache]\npath = "cache"\ndtype = "{options.dtype}"\n'
    return text


def run(folder, *arguments):
    """Runs faculty; gives its peak memory in MiB."""
    with open(folder / "messages", "w+") as messages:
        child = subprocess.Popen(
            [pathlib.Path(options.faculty).resolve(), *arguments], cwd=folder, stdout=messages, stderr=messages
        )
        _, status, usage = os.wait4(child.pid, 0)
        if status != 0:
            messages.seek(0)
            sys.exit(messages.read())
    return usage.ru_maxrss / 1024


LOGITS = 'name = "ca-mkd"\nintermediate = false'
MAPS = 'name = "ca-mkd"'
variants = {"plain training (ce)": (0, 'name = "ce"', False, options.views)}
for count in (1, 3, 5):
    variants[f"{count} from the cache, logits"] = (count, LOGITS, True, options.views)
for count in (1, 3, 5):
    variants[f"{count} from the cache, with maps"] = (count, MAPS, True, options.views)
if options.live:
    for count in (1, 3, 5):
        variants[f"{count} live, logits"] = (count, LOGITS, False, None)

with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / "all.toml").write_text(recipe(5, MAPS, True, options.views))
    run(folder, "cache", "all.toml")
    print((folder / "messages").read_text().strip(), file=sys.stderr)
    best, memory = {}, {}
    for turn in range(options.rounds):
        for number, (name, variant) in enumerate(variants.items()):
            (folder / f"{number}.toml").write_text(recipe(*variant))
            command = "distill" if variant[0] else "train"
            peak = run(folder, command, f"{number}.toml", "--overwrite")
            memory[name] = min(memory.get(name, peak), peak)
            lines = (folder / f"runs/{number}/metrics.jsonl").read_text().splitlines()
            # The first epoch of ca-mkd reads no maps yet.
            for record in map(json.loads, lines[1:]):
                figures = (record["images_per_second"], record["teacher_seconds"])
                best[name] = max(best.get(name, figures), figures)
            print(f"round {turn + 1}: {name}: {best[name][0]:.0f} img/s", file=sys.stderr)
    plain = best["plain training (ce)"][0]
    print("| teachers | img/s | time of an epoch, plain = 1 | of it outputs of teachers | peak memory |\n|---|---|---|---|---|")
    for name, (speed, reading) in best.items():
        print(f"| {name} | {speed:.0f} | {plain / speed:.3f} | {reading:.3f} s | {memory[name]:.0f} MiB |")
