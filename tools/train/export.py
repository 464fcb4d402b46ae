"""Writes a Hugging Face checkpoint: bf16 safetensors in shards, configurations and tokenizer files."""
import json
import os
import shutil

import torch

SHARD = 15 << 20   # bytes


def export(weights, config, tokenizer, tokenizer_dir, out):
    from safetensors.torch import save_file
    from transformers import Qwen3_5TextConfig
    os.makedirs(out, exist_ok=True)
    tensors = {name: value.detach().to(torch.bfloat16).cpu().contiguous() for name, value in weights.items()}
    shards, size = [{}], 0
    for name, value in tensors.items():
        bytes_of = value.numel() * 2
        if size + bytes_of > SHARD:
            shards.append({})
            size = 0
        shards[-1][name] = value
        size += bytes_of
    index = {"metadata": {"total_size": sum(v.numel() * 2 for v in tensors.values())}, "weight_map": {}}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, os.path.join(out, file), metadata={"format": "pt"})
        index["weight_map"].update({name: file for name in shard})
    stop, pad = tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")
    full = Qwen3_5TextConfig(**config).to_dict()
    full.update(architectures=["Qwen3_5ForCausalLM"], dtype="bfloat16", eos_token_id=stop, pad_token_id=pad)
    generation = {"do_sample": True, "temperature": 0.6, "top_k": 50, "top_p": 0.95, "repetition_penalty": 1.1, "eos_token_id": [stop, pad], "pad_token_id": pad}
    for file, content in (("model.safetensors.index.json", index), ("config.json", full), ("generation_config.json", generation)):
        with open(os.path.join(out, file), "w") as f:
            json.dump(content, f, indent=1, default=str)
            f.write("\n")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(tokenizer_dir, file), out)
