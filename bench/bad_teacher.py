#!/usr/bin/env python3
"""CA-MKD against averaging as one of three teachers gets worse.

Trains a third teacher on the demo's data for each share of wrong labels, then compares `aver` and
`ca-mkd` (and `ebkd`) over some seeds. Prints a Markdown table; finished parts are kept, so that it
can be stopped and started again.

    python3 bench/bad_teacher.py --output runs/bad-teacher --seeds 3 --noise 0,0.25,0.5,0.75,1
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / "crates" / "cli" / "demo"


def faculty(binary, *arguments):
    subprocess.run([binary, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def recipe(folder, method, teachers, epochs):
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
name = "{method}"
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
weights = "{weights}"
allow_weak = true
"""
    path = folder / f"{method}.toml"
    path.write_text(text)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "faculty")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "runs" / "bad-teacher")
    parser.add_argument("--noise", default="0,0.25,0.5,0.75,1")
    parser.add_argument("--kind", default="uniform", choices=["uniform", "pair"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--methods", default="aver,ebkd,ca-mkd")
    parser.add_argument("--epochs", type=int, default=6, help="of the students")
    arguments = parser.parse_args()
    methods = ["ce", *arguments.methods.split(",")]
    print(f"| wrong labels ({arguments.kind}) | third teacher | {' | '.join(methods)} |")
    print("|---" * (2 + len(methods)) + "|")
    for noise in arguments.noise.split(","):
        folder = arguments.output / f"{arguments.kind}-{noise}"
        folder.mkdir(parents=True, exist_ok=True)
        teacher = folder / "teacher"
        if not (teacher / "card.json").exists():
            sets = [
                f"data.label_noise={noise}",
                f"data.label_noise_kind={arguments.kind}",
                "student.network=resnet8",
                "train.epochs=8",
                "seed=21",
            ]
            sets = [part for own in sets for part in ("--set", own)]
            own = recipe(folder, "ce", [], 8)
            faculty(arguments.binary, "train", own, *sets, "--output", teacher, "--overwrite")
        teachers = [
            ("ada", "resnet14", DEMO / "teachers" / "ada.safetensors"),
            ("ben", "resnet8", DEMO / "teachers" / "ben.safetensors"),
            ("bad", "resnet8", teacher.resolve() / "student.safetensors"),
        ]
        own = recipe(folder, "ca-mkd", teachers, arguments.epochs)
        faculty(
            arguments.binary, "compare", own, "--methods", arguments.methods,
            "--seeds", arguments.seeds, "--jobs", arguments.jobs,
            "--output", folder / "comparison",
        )  # fmt: skip
        result = json.loads((folder / "comparison" / "comparison.json").read_text())
        rows = {row["method"]: row["top1"] for row in result["rows"]}
        bad = next(t["quality"]["top1"] for t in result["teachers"] if t["name"] == "bad")

        def shown(top1):
            deviation = top1["deviation"]
            return f"{top1['mean']:.2f}" + (f" ± {deviation:.2f}" if deviation else "")

        cells = [shown(rows[method]) for method in methods]
        share = f"{100 * float(noise):.0f} %"
        print(f"| {share} | {bad:.1f} % | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
