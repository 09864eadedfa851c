"""Makes the data of `faculty demo --text`: passages of Jane Austen's six novels, and a vocabulary.

The novels are in the public domain. Give a folder with one plain text each, without anything in front of
the title or behind the end: `emma.txt`, `mansfieldpark.txt`, `northangerabbey.txt`, `persuasion.txt`,
`prideprejudice.txt`, `sensesensibility.txt`, as the R package `janeaustenr` has them (from Project
Gutenberg). Needs the package `tokenizers`, which breaks ties at random: the vocabulary is another one
each time, the passages are not.

    python bench/demo_texts.py NOVELS
"""

import argparse
import csv
import gzip
import io
import pathlib
import re

import tokenizers

DEMO = pathlib.Path(__file__).resolve().parent.parent / "crates" / "cli" / "demo-text"
NOVELS = {
    "emma": "Emma",
    "mansfieldpark": "Mansfield Park",
    "northangerabbey": "Northanger Abbey",
    "persuasion": "Persuasion",
    "prideprejudice": "Pride and Prejudice",
    "sensesensibility": "Sense and Sensibility",
}
# Passages of each novel in each split. No chapter is in two splits.
COUNTS = {"train": 380, "validation": 50, "test": 110}
LEAST_CHARACTERS = 160
MOST_CHARACTERS = 400
# As far as a mark and a space, where it is not that of `Mrs. Bennet`.
SENTENCE = r".+?(?:[.!?][\"']?(?<!Mr\.)(?<!Mrs\.)(?<!Dr\.)(?<!St\.)(?= [\"'A-Z])|$)"
VOCABULARY = 3000
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def split_of(chapter):
    """Of six chapters one is for testing and one for validation."""
    return {2: "test", 5: "validation"}.get(chapter % 6, "train")


def chapters(text):
    """The text of each chapter, on one line."""
    parts = re.split(r"(?im)^chapter [ivxlc\d]+\.?\s*$", text)[1:]
    for part in parts:
        part = re.sub(r"(?m)^\s*(VOLUME [IVX]+|FINIS|THE END|Finis)\.?\s*$", "", part)
        yield " ".join(part.replace("_", "").split())


def passages(chapter):
    """Whole sentences, as many as make a passage."""
    passage = ""
    for sentence in re.findall(SENTENCE, chapter):
        passage = f"{passage} {sentence.strip()}".strip()
        if len(passage) >= LEAST_CHARACTERS:
            if len(passage) <= MOST_CHARACTERS:
                yield passage
            passage = ""


def spread(items, count):
    """So many of them, at equal distances."""
    if len(items) < count:
        raise SystemExit(f"{count} passages are needed and {len(items)} are there")
    return [items[at * len(items) // count] for at in range(count)]


def write_gzip(path, text):
    """Compressed, with nothing of this moment or machine in it."""
    with path.open("wb") as file:
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=9) as packed:
            packed.write(text.encode())
    print(f"{path.relative_to(DEMO)}: {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("novels", type=pathlib.Path)
    novels = parser.parse_args().novels
    rows = {split: [] for split in COUNTS}
    for name, title in NOVELS.items():
        own = {split: [] for split in COUNTS}
        for number, chapter in enumerate(chapters((novels / f"{name}.txt").read_text())):
            own[split_of(number)].extend(passages(chapter))
        for split, count in COUNTS.items():
            rows[split].extend((passage, title) for passage in spread(own[split], count))
    folder = DEMO / "austen"
    folder.mkdir(parents=True, exist_ok=True)
    for split, own in rows.items():
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["text", "label"])
        writer.writerows(own)
        write_gzip(folder / f"{split}.csv.gz", table.getvalue())

    # Of the training passages alone.
    tokenizer = tokenizers.BertWordPieceTokenizer(lowercase=True)
    texts = [passage for passage, _ in rows["train"]]
    tokenizer.train_from_iterator(
        texts, vocab_size=VOCABULARY, min_frequency=2, special_tokens=SPECIAL, show_progress=False
    )
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    (DEMO / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in words))
    print(f"vocab.txt: {len(words)} tokens")


if __name__ == "__main__":
    main()
