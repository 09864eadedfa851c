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

from demo_data import ADA, BEN, BINARY, ROOT, faculty, recipe, shown


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=BINARY)
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
            own = recipe(folder / "ce.toml", "ce", [], 8)
            faculty(arguments.binary, "train", own, *sets, "--output", teacher, "--overwrite")
        bad = ("bad", "resnet8", teacher / "student.safetensors")
        teachers = [ADA, BEN, bad]
        own = recipe(folder / "ca-mkd.toml", "ca-mkd", teachers, arguments.epochs)
        faculty(
            arguments.binary, "compare", own, "--methods", arguments.methods,
            "--seeds", arguments.seeds, "--jobs", arguments.jobs,
            "--output", folder / "comparison",
        )  # fmt: skip
        result = json.loads((folder / "comparison" / "comparison.json").read_text())
        rows = {row["method"]: row["top1"] for row in result["rows"]}
        accuracy = next(t["quality"]["top1"] for t in result["teachers"] if t["name"] == "bad")
        cells = [shown(rows[method]) for method in methods]
        share = f"{100 * float(noise):.0f} %"
        print(f"| {share} | {accuracy:.1f} % | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
