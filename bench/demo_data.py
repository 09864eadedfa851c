"""What the scripts on the demo's data share: the program, recipes, and figures with deviations."""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / "crates" / "cli" / "demo"
BINARY = ROOT / "target" / "release" / "faculty"
ADA = ("ada", "resnet14", DEMO / "teachers" / "ada.safetensors")
BEN = ("ben", "resnet8", DEMO / "teachers" / "ben.safetensors")
MAL = ("mal", "resnet8", DEMO / "teachers" / "mal.safetensors")


def faculty(binary, *arguments):
    """Runs the program; gives what it prints."""
    command = [binary, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def recipe(path, method, teachers, epochs):
    """Writes a recipe with teachers (name, network, weights)."""
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
weights = "{pathlib.Path(weights).resolve()}"
allow_weak = true
"""
    path.write_text(text)
    return path


def shown(top1):
    """Mean ± deviation, which one seed does not have."""
    deviation = top1["deviation"]
    return f"{top1['mean']:.2f}" + (f" ± {deviation:.2f}" if deviation else "")
