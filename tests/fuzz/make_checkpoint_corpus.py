#!/usr/bin/env python3
"""Writes the seeds of the checkpoint fuzz targets into corpus/ beside this file."""
import json, os, struct

HERE = os.path.dirname(os.path.abspath(__file__))

def save(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, name), "wb").write(data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode())

SIZES = {"BF16": 2, "F16": 2, "F32": 4, "U32": 4, "U8": 1}

def safetensors(tensors, metadata=None):
    header, body = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (dtype, shape) in tensors.items():
        size = SIZES[dtype]
        for extent in shape: size *= extent
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + size]}
        body += b"\x3c" * size                                     # finite in every type
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return text, struct.pack("<Q", len(text)) + text + body

text, whole = safetensors({"a": ("F32", [4, 2]), "b": ("BF16", [16]), "empty": ("U8", [0])}, {"format": "pt"})
save("fuzz_safetensors", "whole", whole)
save("fuzz_safetensors", "header", text)                           # 64 bytes of body, as the target adds them
save("fuzz_safetensors", "scalar", safetensors({"s": ("F16", [])})[1])
save("fuzz_safetensors", "nothing", safetensors({})[1])

flat = dict(model_type="qwen3_5_text", vocab_size=8, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
            layer_types=["linear_attention", "full_attention"], num_attention_heads=1, num_key_value_heads=1, head_dim=8,
            linear_num_key_heads=1, linear_num_value_heads=1, linear_key_head_dim=4, linear_value_head_dim=32,
            linear_conv_kernel_dim=2, rms_norm_eps=1e-6, tie_word_embeddings=True,
            rope_parameters=dict(rope_type="default", rope_theta=1e7, partial_rotary_factor=0.25))
save("fuzz_config", "flat", flat)
save("fuzz_config", "multimodal", dict(model_type="qwen3_5", text_config=flat, tie_word_embeddings=True))
mlx = {k: v for k, v in flat.items() if k not in ("rope_parameters", "layer_types", "model_type")}
mlx.update(rope_theta=1e7, partial_rotary_factor=0.5, max_seq_len=2048, full_attention_interval=2)
save("fuzz_config", "mlx_label", dict(mlx, quantization="int4"))
save("fuzz_config", "mlx_numbers", dict(mlx, quantization_bits=8, quantization_group_size=32))
save("fuzz_config", "mlx_object", dict(mlx, quantization={"bits": 4, "group_size": 64, "model.embed_tokens": {"bits": 8}, "lm_head": False}))

def model(quantized):
    out = {}
    def matrix(name, rows, cols):
        if quantized:
            out[name + ".weight"] = ("U32", [rows, cols // 8])
            out[name + ".scales"] = out[name + ".biases"] = ("BF16", [rows, cols // 32])
        else:
            out[name + ".weight"] = ("BF16", [rows, cols])
    matrix("model.embed_tokens", 8, 32)
    out["model.norm.weight"] = ("BF16", [32])
    for i in range(2):
        p = f"model.layers.{i}."
        out[p + "input_layernorm.weight"] = out[p + "post_attention_layernorm.weight"] = ("BF16", [32])
        for name in ("gate", "up", "down"): matrix(p + f"mlp.{name}_proj", 32, 32)
    p = "model.layers.0.linear_attn."
    for name, rows in (("in_proj_qkv", 40), ("in_proj_z", 32), ("in_proj_b", 1), ("in_proj_a", 1), ("out_proj", 32)): matrix(p + name, rows, 32)
    out[p + "conv1d.weight"] = ("BF16", [40, 2, 1] if quantized else [40, 1, 2])
    out[p + "A_log"] = out[p + "dt_bias"] = ("F32", [1])
    out[p + "norm.weight"] = ("BF16", [32])
    p = "model.layers.1.self_attn."
    for name, rows in (("q_proj", 16), ("k_proj", 8), ("v_proj", 8)): matrix(p + name, rows, 32)
    out[p + "o_proj.weight"] = ("BF16", [32, 8])                   # no group divides 8 columns
    out[p + "q_norm.weight"] = out[p + "k_norm.weight"] = ("BF16", [8])
    return dict(sorted(out.items(), key=lambda item: -SIZES[item[1][0]]))

save("fuzz_weights", "hugging_face", safetensors(model(False), {"format": "pt"})[1])
save("fuzz_weights", "mlx", safetensors(model(True), {"format": "mlx"})[1])
