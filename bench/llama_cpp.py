"""Does llama.cpp open what `faculty export --gguf` writes, read the same tokens, and go on with the same ones?

    pip install gguf numpy xllamacpp
    cargo build --release
    python3 bench/llama_cpp.py target/release/faculty MODEL        # a GGUF file or a folder

Writes MODEL as F32, F16 and Q8_0, checks the file with the `gguf` package of llama.cpp's authors, and lets both
programs take the likeliest tokens behind some prompts. Exit code 1 if llama.cpp reads other tokens, or if texts
in F32 part where the two likeliest tokens are further apart than rounding explains.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import gguf
import xllamacpp

PROMPTS = [
    "It is a truth universally acknowledged, that a single man",
    "The capital of France is",
    "def add(a, b):\n    return",
    "In 1813 the café cost 25 pounds.",
]
TOKENS = 32


def of_faculty(program, model):
    command = [program, "generate", model, "--temperature", "0", "--max-tokens", str(TOKENS), "--json"]
    for prompt in PROMPTS:
        command += ["--prompt", prompt]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def server(model):
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = 512
    parameters.n_parallel = 1
    parameters.warmup = False
    parameters.cpuparams.n_threads = 2
    return xllamacpp.Server(parameters)


def ask(own, what, content):
    body = json.dumps(content).encode()
    request = urllib.request.Request(own.listening_address + what, body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def of_llama_cpp(own, prompt):
    """Tokens behind the prompt, and of each place the likeliest ones with their logarithms."""
    content = {"prompt": prompt, "n_predict": TOKENS, "temperature": 0.0, "top_k": 1, "n_probs": 5}
    places = ask(own, "/completion", content | {"cache_prompt": False})["completion_probabilities"]
    tokens = [place["id"] for place in places]
    gaps = []
    for place in places:
        top = sorted((one["logprob"] for one in place["top_logprobs"]), reverse=True)
        gaps.append(top[0] - top[1])
    return tokens, gaps


def main(program, model):
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for kind in ["f32", "f16", "q8_0"]:
            path = str(Path(folder) / f"{kind}.gguf")
            subprocess.run([program, "export", model, "--gguf", path, "--quantise", kind], check=True)
            types = {}
            for tensor in gguf.GGUFReader(path).tensors:
                types[tensor.tensor_type.name] = types.get(tensor.tensor_type.name, 0) + 1
            texts = of_faculty(program, path)
            own = server(path)
            read = [ask(own, "/tokenize", {"content": prompt})["tokens"] for prompt in PROMPTS]
            same_read = [text["prompt_tokens"] for text in texts] == read
            failed |= not same_read
            equal, notes = 0, []
            for text, prompt in zip(texts, PROMPTS):
                tokens, gaps = of_llama_cpp(own, text["prompt_tokens"])
                # An end of text is told as a token by llama.cpp.
                tokens = tokens[: len(text["tokens"])]
                pairs = list(zip(text["tokens"], tokens))
                parts = [place for place, (a, b) in enumerate(pairs) if a != b]
                if not parts and len(pairs) == len(text["tokens"]):
                    equal += 1
                    continue
                place = parts[0] if parts else len(pairs)
                gap = gaps[place] if place < len(gaps) else float("nan")
                notes.append(f"{prompt[:20]!r} parts at token {place}, two likeliest {gap:.4f} nats apart")
                failed |= kind == "f32" and not gap < 0.01
            size = Path(path).stat().st_size / 1e6
            print(f"{kind}: {size:.0f} MB, {types}; prompts read alike: {same_read}; {equal} of {len(PROMPTS)} texts equal")
            for note in notes:
                print("   ", note)
            del own
    sys.exit(failed)


if __name__ == "__main__":
    main(*sys.argv[1:])
