"""Writes the files of `crates/data/tests/files/tokenizers/`: small tokenizers, and what Hugging Face's
Python packages make of odd texts with them.

    python3 -m venv ENV && ENV/bin/pip install tokenizers transformers
    ENV/bin/python bench/tokenizer_reference.py crates/data/tests/files/tokenizers

The vocabularies are made here, of letters, a few words and what a byte-level BPE learns from the
sentences below; nothing is downloaded. Written with tokenizers 0.23.3 and transformers 5.24.0.
"""

import json
import os
import sys
import warnings

warnings.filterwarnings("ignore")
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

SENTENCES = """
the film is good and the music is better than good
a bad story, badly told, with no end in sight
it was not a happy evening: nobody laughed and everybody left
that is a happy person, and this is an unhappy one
she read the book twice and gave it to her brother
""".split("\n")

WORDS = """the a is good bad film story music happy un ##happy ##ly ##s ##ed ##ing not no it was that this
person evening read book and one cafe naive uber strasse hello world don ' t 1813 ##13 18 tok ##en
""".split()

TEXTS = [
    "That is a happy person",
    "The film IS good, badly unhappy!",
    "",
    "   \t\n ",
    "café cafe\u0301 CAFÉ naïve über Straße İstanbul ΣΊΣΥΦΟΣ",
    "e\u0301\u0323 combining a\u0308\u0304, ñ and n\u0303",
    "漢字かなカナ 한국어 중국 中文film電影",
    "𠀀 extension B, 﨑 compatibility, ｆｕｌｌ ｗｉｄｔｈ",
    "😀 good👍🏽 👨‍👩‍👧 ❤️ film🎬film",
    "zero\u200bwidth\u200djoiner\u200cnon\ufeffmark\u00adsoft\u2060word",
    "control\x00null\x07bell\x1bescape\x7fdelete\x85next",
    "tab\tline\nreturn\rnbsp\u00a0ideographic\u3000line\u2028para\u2029thin\u2009",
    "\u200eleft\u200fright \u202eoverride\u202c",
    "مرحبا بالعالم हिन्दी ภาษาไทย Ελληνικά русский עברית",
    "𝐛𝐨𝐥𝐝 ① ² ½ № ™ ﬁ",
    "replacement \ufffd private \ue000 \U0010fffd unassigned \u0378",
    "don't !!! ... --- $100 50% a_b c@d.e http://x.y/z?q=1",
    "s" * 99, "s" * 100, "s" * 101, "s" * 300,
    "good" * 25 + " " + "good" * 26,
    "漢" * 120,
    "[CLS] inside [SEP] a [MASK] text [UNK] [PAD]",
    "[cls] [ MASK ] [mask]",
    "In 1813 the café cost 18 pounds",
    "the film is good and the story is bad " * 12,
    "\ufeffmark first",
    "a\u0300\u0301\u0302\u0303\u0304 \u0301alone",
    "line one\r\nline two\r\n",
]

PAIRS = [
    ("the film is good", "the story is bad"),
    ("a " * 30, "the film"),
    ("the film", "a " * 30),
    ("a " * 30, "the " * 25),
    ("", "good"),
    ("good", ""),
    ("[SEP] good", "bad [SEP]"),
    ("café 漢字", "😀 x"),
]

MAX_TOKENS = [5, 8, 16, 64]


def word_list(cased):
    letters = [chr(c) for c in range(33, 127)]
    if not cased:
        letters = [c for c in letters if not c.isupper()]
    letters += list("éèñüßíσιυφος漢字中文电かなカ한국어русский") + ["😀", "👍", "ك", "ह"]
    words = list(WORDS) + (["The", "That", "CAFÉ", "In", "IS"] if cased else [])
    tokens = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for token in letters + ["##" + c for c in letters if c.isalnum()] + words:
        if token not in tokens:
            tokens.append(token)
    return tokens


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def bert(folder, cased):
    write(f"{folder}/vocab.txt", "\n".join(word_list(cased)) + "\n")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": not cased}
    write(f"{folder}/tokenizer_config.json", json.dumps(config) + "\n")
    return AutoTokenizer.from_pretrained(folder)


def byte_level(folder):
    """GPT-2's kind, with a start and an end as the post-processor sets them, and settings of length
    that must not count."""
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    own.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    own.train_from_iterator(SENTENCES, trainer)
    own.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[("<s>", own.token_to_id("<s>")), ("</s>", own.token_to_id("</s>"))],
    )
    own.enable_truncation(max_length=6)
    own.enable_padding(length=9)
    os.makedirs(folder, exist_ok=True)
    own.save(f"{folder}/tokenizer.json", pretty=False)
    return own


def encode(tokenizer, first, second, most):
    if isinstance(tokenizer, Tokenizer):
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=most, strategy="longest_first")
        encoding = tokenizer.encode(first, second)
        return encoding.ids, encoding.type_ids
    # As a batch of one: alone, an empty second text counts as none.
    out = tokenizer(
        [first], None if second is None else [second],
        truncation="longest_first", max_length=most, return_token_type_ids=True,
    )
    return out["input_ids"][0], out["token_type_ids"][0]


def main():
    target = sys.argv[1]
    tokenizers = {
        "uncased": bert(f"{target}/uncased", False),
        "cased": bert(f"{target}/cased", True),
        "byte-level": byte_level(f"{target}/byte-level"),
    }
    cases = []
    for name, tokenizer in tokenizers.items():
        inputs = [(text, None) for text in TEXTS] + PAIRS
        for first, second in inputs:
            for most in MAX_TOKENS:
                ids, segments = encode(tokenizer, first, second, most)
                cases.append({"tokenizer": name, "first": first, "second": second, "max_tokens": most,
                              "ids": ids, "segments": segments})
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
    write(f"{target}/reference.json", f"[\n{lines}\n]\n")
    print(f"{len(cases)} cases")


main()
