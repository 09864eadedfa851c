#!/usr/bin/env python3
"""Does the ranking of teachers for optimal transport order them as students that learn from them do?

Ranks some teachers on the demo's data without training anything (`faculty teachers --rank`), then
trains a student from each alone by `ot`. Prints a Markdown table; finished runs are kept.

    python3 bench/ot_ranking.py --output runs/ot-ranking --seeds 3 ben=resnet8=FILE …
"""

import argparse
import json
import pathlib

from demo_data import ADA, BEN, BINARY, MAL, ROOT, faculty, recipe, shown


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=BINARY)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "runs" / "ot-ranking")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=6, help="of the students")
    parser.add_argument("--lambda", type=float, default=1.0, help="`method.lambda`", dest="weight")
    parser.add_argument("teachers", nargs="*", metavar="NAME=NETWORK=FILE")
    arguments = parser.parse_args()
    named = [tuple(own.split("=", 2)) for own in arguments.teachers]
    teachers = [ADA, BEN, MAL, *named]
    arguments.output.mkdir(parents=True, exist_ok=True)
    together = recipe(arguments.output / "all.toml", "ot", teachers, arguments.epochs)
    ranking = json.loads(faculty(arguments.binary, "teachers", together, "--rank", "--json"))
    print("| rank | teacher | cost | student by `ot` | against `ce` |\n|---|---|---:|---:|---:|")
    for rank, ranked in enumerate(ranking["teachers"], 1):
        teacher = next(own for own in teachers if own[0] == ranked["name"])
        own = recipe(arguments.output / f"{teacher[0]}.toml", "ot", [teacher], arguments.epochs)
        folder = arguments.output / teacher[0]
        faculty(
            arguments.binary, "compare", own, "--methods", "ot", "--seeds", arguments.seeds,
            "--jobs", arguments.jobs, "--set", f"method.lambda={arguments.weight}",
            "--output", folder,
        )  # fmt: skip
        result = json.loads((folder / "comparison.json").read_text())
        rows = {row["method"]: row["top1"] for row in result["rows"]}
        student, alone = rows["ot"], rows["ce"]
        gain = student["mean"] - alone["mean"]
        print(f"| {rank} | {teacher[0]} | {ranked['score']:.3f} | {shown(student)} | {gain:+.2f} |", flush=True)


if __name__ == "__main__":
    main()
