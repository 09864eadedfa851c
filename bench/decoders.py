"""Writes small Llama-like models with the logits and gradients of Hugging Face's transformers.

    pip install torch transformers safetensors gguf
    python3 bench/decoders.py crates/nets/tests/decoders

One safetensors file a model: `w.*` weights, `in.ids` packed texts of the lengths in the metadata,
`out.logits` `[tokens, vocabulary]`, `grad.*` gradients of the mean cross-entropy of every next token, the
`config.json` in the metadata. Computed in float64. `grouped.gguf` has the weights of `grouped` with the rows
of queries and keys in llama.cpp's order.
"""

import json
import pathlib
import sys

import gguf
import torch
import transformers as hf
from safetensors.torch import save_file

VOCABULARY = 37
LENGTHS = [7, 1, 19, 2]
COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
    "max_position_embeddings": 64, "initializer_range": 0.3, "attention_dropout": 0.0,
    "bos_token_id": 1, "eos_token_id": 2,
}
MODELS = {
    "grouped": (hf.LlamaConfig(**COMMON, num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 500.0}, rms_norm_eps=1e-5), hf.LlamaForCausalLM),
    "own_head": (hf.LlamaConfig(**COMMON, num_attention_heads=3, num_key_value_heads=3, tie_word_embeddings=False, head_dim=10, rms_norm_eps=1e-6), hf.LlamaForCausalLM),
    "mistral": (hf.MistralConfig(**COMMON, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False, sliding_window=5), hf.MistralForCausalLM),
    "qwen2": (hf.Qwen2Config(**COMMON, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True), hf.Qwen2ForCausalLM),
}


def interleaved(weight, heads):
    """Rows of each head from halves to pairs, as llama.cpp's converter has them."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, -1).transpose(1, 2).reshape(weight.shape)


def write_gguf(path, config, state):
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }
    for name, value in state.items():
        value = value.float()
        if name == "model.embed_tokens.weight":
            to = "token_embd.weight"
        elif name == "model.norm.weight":
            to = "output_norm.weight"
        elif name == "lm_head.weight":
            continue
        else:
            layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
            to = f"blk.{layer}.{names[part]}.weight"
            if part == "self_attn.q_proj":
                value = interleaved(value, config.num_attention_heads)
            if part == "self_attn.k_proj":
                value = interleaved(value, config.num_key_value_heads)
        writer.add_tensor(to, value.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (config, kind) in MODELS.items():
        torch.manual_seed(1)
        config._attn_implementation = "eager"
        model = kind(config).double().eval()
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if parameter.dim() == 1:
                    centre = 1.0 if "norm" in parameter_name else 0.0
                    parameter.copy_(centre + 0.2 * torch.randn_like(parameter))
                # Both sides start from the same float32 values.
                parameter.copy_(parameter.float().double())
        generator = torch.Generator().manual_seed(5)
        texts = [torch.randint(0, VOCABULARY, (length,), generator=generator) for length in LENGTHS]
        logits = [model(input_ids=text[None]).logits[0] for text in texts]
        pairs = [(out[:-1], text[1:]) for out, text in zip(logits, texts)]
        loss = torch.nn.functional.cross_entropy(torch.cat([p for p, _ in pairs]), torch.cat([t for _, t in pairs]))
        loss.backward()
        tensors = {"in.ids": torch.cat(texts).int(), "out.logits": torch.cat(logits), "out.loss": loss[None]}
        state = {}
        for parameter_name, parameter in model.named_parameters():
            state[parameter_name] = parameter.detach()
            tensors["w." + parameter_name] = parameter
            tensors["grad." + parameter_name] = parameter.grad
        tensors = {key: value.detach().float() if value.is_floating_point() else value for key, value in tensors.items()}
        tensors = {key: value.contiguous().clone() for key, value in tensors.items()}
        metadata = {"config": json.dumps(config.to_dict(), default=str), "lengths": json.dumps(LENGTHS)}
        save_file(tensors, folder / f"{name}.safetensors", metadata)
        if name == "grouped":
            write_gguf(folder / f"{name}.gguf", config, state)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
