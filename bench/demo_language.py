"""Makes `tokenizer.json` of `faculty demo --lm`: byte-level BPE of the training passages of the demo of texts.

Pieces are cut as GPT-2 cuts them. Of pairs that are equally frequent the first in the order of their bytes
is merged, so that the file is the same each time. Needs nothing but Python.

    python bench/demo_language.py
"""

import collections
import csv
import gzip
import json
import pathlib
import re

CLI = pathlib.Path(__file__).resolve().parent.parent / "crates" / "cli"
SIZE = 1024
END = "<|endoftext|>"
# GPT-2's cuts, with Python's words for letters and digits.
CUTS = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def alphabet():
    """A printable character for each byte, as GPT-2 has them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + n) for n, b in enumerate(others)}}


def merges(words, count):
    """The most frequent pair of neighbours, and then that of what is left, so many times."""
    words = {tuple(word): number for word, number in words.items()}
    for _ in range(count):
        pairs = collections.Counter()
        for word, number in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += number
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        yield best
        merged = collections.Counter()
        for word, number in words.items():
            merged[merge(word, best)] += number
        words = merged


def merge(word, pair):
    parts, at = [], 0
    while at < len(word):
        here = word[at : at + 2] == pair
        parts.append("".join(pair) if here else word[at])
        at += 2 if here else 1
    return tuple(parts)


def main():
    of_byte = alphabet()
    table = gzip.open(CLI / "demo-text" / "austen" / "train.csv.gz", "rt", encoding="utf-8", newline="")
    words = collections.Counter()
    for row in csv.DictReader(table):
        for piece in CUTS.findall(row["text"] + "\n"):
            words["".join(of_byte[byte] for byte in piece.encode())] += 1
    tokens = [END, *sorted(of_byte.values())]
    pairs = list(merges(words, SIZE - len(tokens)))
    vocabulary = {token: at for at, token in enumerate([*tokens, *map("".join, pairs)])}
    assert len(vocabulary) == SIZE, "two pairs make one token"
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": 0, "content": END, **special}],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {**model, "vocab": vocabulary, "merges": pairs},
    }
    path = CLI / "demo-lm" / "tokenizer.json"
    text = json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")
    print(f"{path.relative_to(CLI)}: {len(text.encode())} bytes, {len(vocabulary)} tokens")


if __name__ == "__main__":
    main()
