"""MMKD's first meta gradient on the demo's data: faculty's, from Adam's first moment after one batch,
beside autograd's through all inner steps.

    python3 bench/methods/meta_step.py RUN --faculty target/release/faculty

RUN: the folder that `faculty demo` wrote. Prints for some learning rates of that batch, for the networks of
outputs and of maps, the cosine of both gradients and the ratio of their lengths.
"""

import argparse
import pathlib
import subprocess
import tempfile

import torch
from safetensors.torch import load_file

from train import BATCH, Data, Run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--faculty", default="target/release/faculty")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = Data(arguments.run, arguments.faculty, samples=80)
    for rate in (2e-6, 2e-5, 2e-4, 2e-3):
        with tempfile.TemporaryDirectory() as folder:
            # One cycle begins at a 25th.
            values = {
                "method.name": "mmkd",
                "seed": 1,
                "train.learning_rate": 25 * rate,
                "train.epochs": 1,
                "data.train_samples": 80,
            }
            command = [arguments.faculty, "distill", str(arguments.run / "distill.toml")]
            for key, value in values.items():
                command += ["--set", f"{key}={value}"]
            command += ["--output", f"{folder}/run", "--no-report"]
            subprocess.run(command, check=True, capture_output=True)
            theirs = load_file(f"{folder}/run/checkpoints/last.safetensors")
        run = Run(arguments.run, data, arguments.faculty, "mmkd", seed=1)
        start = {name: value.double() for name, value in run.start.items()}
        loss, step, images = run.loss(1, 1, data.order(1, 1)[:BATCH])
        run.update(run.gradients(loss), rate)
        run.meta.after(step, images, rate)
        shown = []
        for net in ("logits", "maps"):
            names = [n for n in run.meta.moments if n.startswith(f"method/{net}")]
            # Without the share of Adam's decay, 1e-4 of the weight.
            moments = [run.meta.moments[n][0].double() - 1e-5 * start[n] for n in names]
            saved = [n.replace("method/", "between/adam.first_moment.") for n in names]
            other = [theirs[s].double() - 1e-5 * start[n] for s, n in zip(saved, names)]
            a, b = (torch.cat([v.flatten() for v in own]) for own in (other, moments))
            cosine = (a @ b / (a.norm() * b.norm())).item()
            shown.append(f"{net}: cosine {cosine:+.4f}, ratio {(a.norm() / b.norm()).item():.3f}")
        print(f"rate {rate:g}   {'   '.join(shown)}", flush=True)


if __name__ == "__main__":
    main()
