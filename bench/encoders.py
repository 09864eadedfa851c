#!/usr/bin/env python3
"""References of text encoders from Hugging Face's transformers, for the tests of `crates/nets`.

One tiny network a family with random weights: logits, hidden states and the gradient of a mean
cross-entropy by every parameter, in float64, for texts of different lengths in one padded batch.

    pip install torch transformers safetensors
    python3 bench/encoders.py crates/nets/tests/encoders
"""

import json
import pathlib
import sys

import torch
import transformers as hf
from safetensors.torch import save_file

VOCABULARY, CLASSES = 40, 3
LENGTHS = [6, 1, 140, 17]
LABELS = [0, 2, 1, 1]

COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
    "intermediate_size": 24, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    "num_labels": CLASSES, "initializer_range": 0.3,
}
MODELS = {
    "bert": (hf.BertConfig(**COMMON, max_position_embeddings=150, hidden_act="gelu_new"), hf.BertForSequenceClassification),
    "roberta": (hf.RobertaConfig(**COMMON, max_position_embeddings=152, type_vocab_size=1, pad_token_id=1), hf.RobertaForSequenceClassification),
    "xlm-roberta": (hf.XLMRobertaConfig(**COMMON, max_position_embeddings=152, type_vocab_size=1, pad_token_id=1), hf.XLMRobertaForSequenceClassification),
    "distilbert": (hf.DistilBertConfig(vocab_size=VOCABULARY, dim=16, n_layers=3, n_heads=2, hidden_dim=24, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0, max_position_embeddings=150, num_labels=CLASSES, initializer_range=0.3), hf.DistilBertForSequenceClassification),
    "mpnet": (hf.MPNetConfig(**COMMON, max_position_embeddings=152, pad_token_id=1, layer_norm_eps=1e-5), hf.MPNetForSequenceClassification),
    "electra": (hf.ElectraConfig(**COMMON, embedding_size=8, max_position_embeddings=150), hf.ElectraForSequenceClassification),
}


def batch(padding):
    generator = torch.Generator().manual_seed(5)
    longest = max(LENGTHS)
    ids = torch.randint(5, VOCABULARY, (len(LENGTHS), longest), generator=generator)
    positions = torch.arange(longest).expand(len(LENGTHS), -1)
    mask = positions < torch.tensor(LENGTHS)[:, None]
    # The second half of a text as the second of a pair.
    segments = (positions >= (torch.tensor(LENGTHS)[:, None] + 1) // 2) & mask
    return torch.where(mask, ids, padding), mask.long(), segments.long()


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (config, kind) in MODELS.items():
        torch.manual_seed(1)
        model = kind(config).double().eval()
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if parameter.dim() == 1:
                    # Scales around 1 and shifts around 0, not the untrained constants.
                    centre = 1.0 if "norm" in parameter_name.lower() and parameter_name.endswith("weight") else 0.0
                    parameter.copy_(centre + 0.2 * torch.randn_like(parameter))
                # Both sides start from the same float32 values.
                parameter.copy_(parameter.float().double())
        ids, mask, segments = batch(config.pad_token_id)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if getattr(config, "type_vocab_size", 0) > 1 and name in ("bert", "electra"):
            inputs["token_type_ids"] = segments
        outputs = model(**inputs, labels=torch.tensor(LABELS), output_hidden_states=True)
        outputs.loss.backward()
        tensors = {"in.ids": torch.cat([row[:n] for row, n in zip(ids, LENGTHS)]).int()}
        tensors["in.segments"] = torch.cat([row[:n] for row, n in zip(segments, LENGTHS)]).int()
        tensors["out.logits"] = outputs.logits
        tensors["out.hidden"] = torch.stack([state[:, 0] for state in outputs.hidden_states])
        for parameter_name, parameter in model.named_parameters():
            tensors["w." + parameter_name] = parameter
            if parameter.grad is not None:
                tensors["grad." + parameter_name] = parameter.grad
        tensors = {key: value.detach().float() if value.is_floating_point() else value for key, value in tensors.items()}
        tensors = {key: value.contiguous().clone() for key, value in tensors.items()}
        metadata = {"config": json.dumps(config.to_dict(), default=str), "lengths": json.dumps(LENGTHS)}
        metadata["labels"] = json.dumps(LABELS)
        save_file(tensors, folder / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
