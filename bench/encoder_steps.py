#!/usr/bin/env python3
"""PyTorch's side of `cargo bench -p faculty-nets --bench encoders`: the same encoders and texts.

Each mode: eager or compiled, float32 or bfloat16 autocast; texts padded to the longest of their batch,
as `transformers` trains. The best of all modes is the one to compare with.

    pip install torch transformers
    python3 bench/encoder_steps.py --threads 2
"""

import argparse
import time

import torch
import transformers as hf

BATCH, VOCABULARY, RUNS = 32, 30522, 7


def sentence(text):
    return 6 + (text * text * 7 + text * 3) % 61 * ((text * 5) % 7 + 2) // 8


def texts(length):
    lengths = [length(text) for text in range(BATCH)]
    ids = torch.zeros(BATCH, max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for text, own in enumerate(lengths):
        ids[text, :own] = (torch.arange(own) * 7919 + text * 104729) % VOCABULARY
        mask[text, :own] = 1
    return {"input_ids": ids, "attention_mask": mask}, sum(lengths)


def timed(step):
    step()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    times.sort()
    return 1e3 * times[0], 1e3 * times[RUNS // 2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int, nargs="*", default=[2, 6, 12])
    parser.add_argument("--modes", nargs="*", default=["eager f32", "compiled f32", "eager bf16", "compiled bf16"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"PyTorch {torch.__version__}, {options.threads} threads")
    for layers in options.layers:
        for name, length in [("128", lambda text: 128), ("mixed", sentence)]:
            inputs, tokens = texts(length)
            labels = torch.arange(BATCH) % 2
            for mode in options.modes:
                how, precision = mode.split()
                torch.manual_seed(0)
                config = hf.BertConfig(vocab_size=VOCABULARY, hidden_size=384, num_hidden_layers=layers, num_attention_heads=12, intermediate_size=1536, attention_probs_dropout_prob=0.0, num_labels=2)
                model = hf.BertForSequenceClassification(config)
                optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, fused=True)
                run = torch.compile(model) if how == "compiled" else model
                bf16 = precision == "bf16"

                def forward():
                    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                        run(**inputs)

                def train():
                    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                        loss = run(**inputs, labels=labels).loss
                    optimizer.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()

                model.eval()
                at_least, median = timed(forward)
                print(f"{layers}x384 {tokens} tokens ({name})  forward   {mode:<14}{at_least:9.1f}{median:11.1f}", flush=True)
                model.train()
                at_least, median = timed(train)
                print(f"{layers}x384 {tokens} tokens ({name})  training  {mode:<14}{at_least:9.1f}{median:11.1f}", flush=True)


if __name__ == "__main__":
    main()
