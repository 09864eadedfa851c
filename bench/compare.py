"""Training steps of faculty and of PyTorch on the same CPU, in turn, written to docs/benchmarks.md.

    python3 bench/compare.py [--rounds N] [--only TEXT] [--threads N] [--no-compile]
    python3 bench/compare.py --memory

Makes its own virtual environment (bench/.venv) with torch from PyPI on the first call and builds the
bench program. For each work both start as fresh processes, as a training run is one, and get in turn a pause,
steps for 0.15 seconds and a measured step, A B C D A B C D …, so that a change of the machine's speed hits all alike. faculty
runs in f32 and in bf16, PyTorch eager, channels-last and compiled, in f32 and under bfloat16 autocast (MODES); of each
side the best median counts, of f32 alone and of all. FACULTY_BENCH_PYTHON=1 takes the Python that runs this
script instead of an environment of its own.
"""

import argparse
import datetime
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "bench" / ".venv"
# What a user may switch on, by the words of the name: memory format, torch.compile, autocast.
MODES = [
    "eager",
    "channels-last",
    "compile",
    "eager bf16",
    "channels-last bf16",
    "compile bf16",
    "compile channels-last bf16",
]
OURS = ["f32", "bf16"]
WARM_UP_SECONDS = 0.15


def own_environment():
    """Starts this script again inside its virtual environment, made first if need be."""
    if pathlib.Path(sys.prefix) == VENV or os.environ.get("FACULTY_BENCH_PYTHON"):
        return
    if not VENV.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin" / "pip", "install", "--quiet", "torch", "numpy"], check=True)
    os.execv(VENV / "bin" / "python", [str(VENV / "bin" / "python"), *sys.argv])


class Ours:
    """The bench program, asked for one step at a time."""

    def __init__(self, threads):
        # The whole workspace: a package alone would compile the dependencies again, with other features.
        command = ["cargo", "bench", "--quiet", "--bench", "training_steps"]
        subprocess.run([*command, "--no-run"], cwd=ROOT, check=True)
        environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
        pipe = subprocess.PIPE
        self.program = subprocess.Popen(
            command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, env=environment
        )

    def ask(self, line):
        self.program.stdin.write(line + "\n")
        self.program.stdin.flush()
        return self.program.stdout.readline().strip()

    def step(self, work, precision):
        """Time of a step and of the losses in it."""
        whole, losses = self.ask(work if precision == "f32" else f"{work} {precision}").split()
        return float(whole), float(losses)

    def close(self):
        self.program.stdin.close()
        self.program.wait()


class Theirs:
    """This script again, serving steps of one work by PyTorch."""

    def __init__(self, work, arguments):
        command = [sys.executable, __file__, "--serve", work, "--threads", str(arguments.threads)]
        command += ["--no-compile"] if arguments.no_compile else []
        pipe = subprocess.PIPE
        self.program = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        self.version, *self.modes = self.program.stdout.readline().strip().split(";")

    def step(self, mode):
        self.program.stdin.write(mode + "\n")
        self.program.stdin.flush()
        return float(self.program.stdout.readline())

    close = Ours.close


def our_memory(work, threads):
    """What three steps add to the peak memory of a fresh process, MiB."""
    program = Ours(threads)
    answer = float(program.ask(f"memory {work}"))
    program.close()
    return answer


def their_memory(work, mode, threads):
    """The same of PyTorch: this script in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", work, "--mode", mode, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def peak(reset=False):
    """Largest resident memory since the last reset, MiB (Linux)."""
    if reset:
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(l for l in status.splitlines() if l.startswith("VmHWM:")).split()[1]) / 1024


def pytorch_works(torch, with_compile, only_mode=None):
    """Work name -> mode -> a function that runs one step."""
    from torch.nn import functional

    sys.path.insert(0, str(ROOT / "bench"))
    from networks import named

    torch.manual_seed(1)
    batch, classes, temperature = 64, 100, 4.0
    images = torch.randn(batch, 3, 32, 32)
    labels = torch.arange(batch) * 37 % classes

    def network(name):
        return named(name, classes)

    class Connector(torch.nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.conv = torch.nn.Conv2d(inputs, outputs, 1)
            self.bn = torch.nn.BatchNorm2d(outputs)

        def forward(self, x):
            return functional.relu(self.bn(self.conv(x)))

    def ca_mkd_loss(logits, maps, teacher_logits, teacher_maps, heads):
        count = len(teacher_logits)
        task = functional.cross_entropy(logits, labels)
        costs = torch.stack(
            [functional.cross_entropy(z, labels, reduction="none") for z in teacher_logits]
        )
        weights = (1 - costs.softmax(0)) / (count - 1)
        log_q = (logits / temperature).log_softmax(1)
        divergences = torch.stack(
            [
                functional.kl_div(log_q, (z / temperature).softmax(1), reduction="none").sum(1)
                for z in teacher_logits
            ]
        )
        kd = (weights * divergences).sum(0).mean() * temperature**2
        pushed = [head(m.mean((2, 3))) for head, m in zip(heads, maps)]
        costs = torch.stack(
            [functional.cross_entropy(z, labels, reduction="none") for z in pushed]
        )
        inner = ((1 - costs.softmax(0)) / (count - 1)).detach()
        errors = torch.stack(
            [((a - b) ** 2).mean((1, 2, 3)) for a, b in zip(maps, teacher_maps)]
        )
        return task + kd + 50 * (inner * errors).sum(0).mean()

    def prepare(kind, student, teacher, mode):
        words = mode.split()
        memory = torch.channels_last if "channels-last" in words else torch.contiguous_format
        maybe = torch.compile if "compile" in words else (lambda f: f)

        def cast():
            return torch.autocast("cpu", dtype=torch.bfloat16, enabled="bf16" in words)

        x = images.contiguous(memory_format=memory)
        net = network(student).to(memory_format=memory)
        if kind == "forward":
            net.eval()
            run = maybe(net)

            def step():
                with torch.no_grad(), cast():
                    run(x)

            return step
        teachers = [network(teacher).to(memory_format=memory).eval() for _ in range(3)] if teacher else []
        for frozen in teachers:
            frozen.requires_grad_(False)
        connectors = [Connector(net.fc.in_features, t.fc.in_features).to(memory_format=memory) for t in teachers]
        parameters = [p for module in [net, *connectors] for p in module.parameters()]
        optimizer = torch.optim.SGD(
            parameters, lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4
        )

        def ask():
            with torch.no_grad():
                return [t.with_map(x) for t in teachers]

        ask = maybe(ask)

        def loss(outputs):
            if not teachers:
                return functional.cross_entropy(net(x), labels)
            logits, own_map = net.with_map(x)
            maps = [connector(own_map) for connector in connectors]
            heads = [t.fc for t in teachers]
            return ca_mkd_loss(logits, maps, [o[0] for o in outputs], [o[1] for o in outputs], heads)

        loss = maybe(loss)
        with cast():
            given = ask() if kind == "ca-mkd given" else None

        def step():
            optimizer.zero_grad()
            with cast():
                outputs = given if given is not None else (ask() if teachers else None)
                value = loss(outputs)
            value.backward()
            optimizer.step()

        return step

    def timed(step):
        start = time.perf_counter()
        step()
        return 1e3 * (time.perf_counter() - start)

    modes = [only_mode] if only_mode else [m for m in MODES if with_compile or "compile" not in m]

    def works(name):
        parts = name.split(" ")
        kind = " ".join(parts[:2]) if parts[0] == "ca-mkd" else parts[0]
        networks = parts[len(kind.split(" ")):] + [""]
        result = {}
        for mode in modes:
            step = prepare(kind, networks[0], networks[1], mode)
            for _ in range(2):
                step()
            result[mode] = lambda step=step: timed(step)
        return result

    return works


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    own_environment()
    if arguments.serve or arguments.memory_of:
        serve(arguments)
        return
    ours = Ours(arguments.threads)
    names = [name for name in ours.ask("list").split(";") if arguments.only in name]
    ours.close()
    if arguments.memory:
        measure_memory(names, arguments)
        return
    rows = []
    for name in names:
        ours, pytorch = Ours(arguments.threads), Theirs(name, arguments)
        theirs = {mode: lambda mode=mode: pytorch.step(mode) for mode in pytorch.modes}
        own = {f"faculty {precision}": precision for precision in OURS}
        times = {who: [] for who in [*own, *theirs]}
        losses = []

        def our_step(precision):
            whole, of_losses = ours.step(name, precision)
            if precision == "f32":
                losses.append(of_losses)
            return whole

        steps = {who: lambda p=precision: our_step(p) for who, precision in own.items()} | theirs

        # Threads of the program before keep spinning for a while after its step; a pause gives each the
        # machine for itself. A step right after it finds cold caches and a slow clock, which
        # a short one would be measured by: so each first runs for a while.
        for _ in range(arguments.rounds):
            for who, step in steps.items():
                time.sleep(0.3)
                begin = time.perf_counter()
                while time.perf_counter() - begin < WARM_UP_SECONDS:
                    step()
                times[who].append(step())
        kernels = ours.ask("kernels")
        ours.close()
        pytorch.close()
        medians = {who: statistics.median(values) for who, values in times.items()}
        cells = [f"{medians[who]:.1f} ({min(times[who]):.1f})" for who in steps]
        share = 100 * statistics.median(losses) / medians["faculty f32"]
        cells += [*ratios(medians, list(theirs)), "-" if name.startswith("forward") else f"{share:.1f} %"]
        rows.append(f"| {name} | {' | '.join(cells)} |")
        text = table(rows, pytorch, kernels, arguments)
        print(rows[-1] if len(rows) > 1 else text, end="\n" if len(rows) > 1 else "", flush=True)
        if not arguments.only:
            replace_section(text, first=True)


def ratios(medians, modes):
    """f32 against f32, and the best of ours against the best of theirs; each with the modes that it is of."""
    best_f32 = min((mode for mode in modes if "bf16" not in mode), key=medians.get)
    best = min(modes, key=medians.get)
    ours = min((f"faculty {precision}" for precision in OURS), key=medians.get)
    return [
        f"**{medians[best_f32] / medians['faculty f32']:.2f}** ({best_f32})",
        f"**{medians[best] / medians[ours]:.2f}** ({ours.removeprefix('faculty ')}, {best})",
    ]


def serve(arguments):
    """Steps of PyTorch, or what they take of memory, on stdout."""
    import torch

    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        # Libraries and threads are there before the first reading.
        torch.nn.functional.conv2d(torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3))
        works = pytorch_works(torch, True, arguments.mode)
        before = peak(reset=True)
        step = works(arguments.memory_of)[arguments.mode]
        step()
        print(peak() - before)
        return
    steps = pytorch_works(torch, not arguments.no_compile)(arguments.serve)
    print(torch.__version__, *steps, sep=";", flush=True)
    for line in sys.stdin:
        print(steps[line.strip()](), flush=True)


def machine(arguments):
    """Date, processor with what it has for bf16 (Linux on x86), threads."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        said = dict(line.split(":", 1) for line in file if ":" in line)
    said = {key.strip(): value.strip() for key, value in said.items()}
    flags = said.get("flags", "").split()
    names = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512-BF16"}
    has = [name for flag, name in names.items() if flag in flags]
    cpu = said.get("model name") or platform.machine()
    parts = f"with {' and '.join(has)}" if has else "with neither AMX nor AVX-512-BF16"
    return f"{datetime.date.today()}: {cpu} {parts}, {arguments.threads} threads"


def table(rows, pytorch, kernels, arguments):
    """The whole section; `kernels` as the bench program says them."""
    ours = [f"faculty {precision}" for precision in OURS]
    theirs = [f"PyTorch {mode}" for mode in pytorch.modes]
    heads = ["work", *ours, *theirs, "f32 against f32", "best against best", "losses"]
    return f"""# Benchmarks
Made by `python3 bench/compare.py --rounds {arguments.rounds}` on {machine(arguments)}.
faculty's kernels: {kernels.replace(";", ", ")}; PyTorch {pytorch.version}. Batch 64, 3×32×32, 100 classes. Milliseconds a
step: median (minimum) of {arguments.rounds}, all programs in turn. bf16: of PyTorch autocast, of faculty `precision` for student and
teachers. Ratios: PyTorch's best median over faculty's, in f32 alone, and the best of all modes over the better of
faculty's two; in brackets which they are. Losses: their share of faculty's f32 step.

| {' | '.join(heads)} |
|{'---|' * len(heads)}
""" + "\n".join(rows) + "\n"


def measure_memory(names, arguments):
    rows = []
    for name in names:
        own = our_memory(name, arguments.threads)
        theirs = [their_memory(name, mode, arguments.threads) for mode in ["eager", "channels-last"]]
        rows.append(f"| {name} | {own:.0f} | {theirs[0]:.0f} | {theirs[1]:.0f} |")
        print(rows[-1], flush=True)
    text = f"""
## Memory
Made by `python3 bench/compare.py --memory` on {machine(arguments)}. MiB that building the work and three
steps of it add to the resident memory of a fresh process that has loaded its libraries: networks, batch, values, gradients,
optimiser.

| work | faculty | PyTorch eager | PyTorch channels-last |
|---|---|---|---|
""" + "\n".join(rows) + "\n"
    if not arguments.only:
        replace_section(text, first=False)


def replace_section(text, first):
    """Puts a section into docs/benchmarks.md and leaves the other as it is."""
    path = ROOT / "docs" / "benchmarks.md"
    times, _, memory = path.read_text(encoding="utf-8").partition("\n## Memory\n")
    memory = f"\n## Memory\n{memory}" if memory else ""
    path.write_text(text + memory if first else times + text, encoding="utf-8")


if __name__ == "__main__":
    main()
