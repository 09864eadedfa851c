#!/usr/bin/env python3
"""Does the ranking of teachers for optimal transport order them as students that learn from them do?

Ranks some teachers on the demo's data without training anything (`faculty teachers --rank`), then
trains a student from each alone by `ot`. Prints a Markdown table; finished runs are kept.

    python3 bench/ot_ranking.py --output runs/ot-ranking --seeds 3 ben=resnet8=FILE …
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / "crates" / "cli" / "demo"


def faculty(binary, *arguments):
    command = [binary, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def recipe(path, teachers, epochs):
    text = f"""seed = 1
[data]
path = "{DEMO / 'fashion-mnist'}"
mean = [0.286]
std = [0.353]
crop_padding = 2
views = 2
[student]
network = "resnet8x0.5"
[method]
name = "ot"
[train]
epochs = {epochs}
batch_size = 64
learning_rate = 0.05
schedule = "one-cycle"
"""
    for name, network, weights in teachers:
        text += f"""[[teachers]]
name = "{name}"
network = "{network}"
weights = "{pathlib.Path(weights).resolve()}"
allow_weak = true
"""
    path.write_text(text)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "faculty")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "runs" / "ot-ranking")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=6, help="of the students")
    parser.add_argument("--lambda", type=float, default=1.0, help="`method.lambda`", dest="weight")
    parser.add_argument("teachers", nargs="*", metavar="NAME=NETWORK=FILE")
    arguments = parser.parse_args()
    teachers = [
        ("ada", "resnet14", DEMO / "teachers" / "ada.safetensors"),
        ("ben", "resnet8", DEMO / "teachers" / "ben.safetensors"),
        ("mal", "resnet8", DEMO / "teachers" / "mal.safetensors"),
        *(tuple(own.split("=", 2)) for own in arguments.teachers),
    ]
    arguments.output.mkdir(parents=True, exist_ok=True)
    together = recipe(arguments.output / "all.toml", teachers, arguments.epochs)
    ranking = json.loads(faculty(arguments.binary, "teachers", together, "--rank", "--json"))
    print("| rank | teacher | cost | student by `ot` | against `ce` |\n|---|---|---:|---:|---:|")
    for rank, ranked in enumerate(ranking["teachers"], 1):
        teacher = next(own for own in teachers if own[0] == ranked["name"])
        own = recipe(arguments.output / f"{teacher[0]}.toml", [teacher], arguments.epochs)
        folder = arguments.output / teacher[0]
        faculty(
            arguments.binary, "compare", own, "--methods", "ot", "--seeds", arguments.seeds,
            "--jobs", arguments.jobs, "--set", f"method.lambda={arguments.weight}",
            "--output", folder,
        )  # fmt: skip
        result = json.loads((folder / "comparison.json").read_text())
        rows = {row["method"]: row["top1"] for row in result["rows"]}
        student, alone = rows["ot"], rows["ce"]
        shown = f"{student['mean']:.2f} ± {student['deviation'] or 0.0:.2f}"
        gain = student["mean"] - alone["mean"]
        print(f"| {rank} | {teacher[0]} | {ranked['score']:.3f} | {shown} | {gain:+.2f} |", flush=True)


if __name__ == "__main__":
    main()
