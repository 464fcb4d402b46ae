#!/usr/bin/env python3
"""Writes affine_vectors.json: the affine quantiser in numpy, kept apart from the C++ one on purpose.

usage: make_affine_vectors.py > affine_vectors.json      (needs numpy)
Groups of float32 values as hexadecimal bits, and for each number of bits the bf16 scale and bias and the packed words.
"""
import json
import numpy as np

F = np.float32

def bf16(value):
    bits = int(np.array(value, F).view(np.uint32))
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16

def quantize(values, bits):
    low, high, most = values.min(), values.max(), F(2**bits - 1)
    scale = max(F((high - low) / most), F(1e-7))
    edge = low if abs(low) > abs(high) else high
    if edge is not low: scale = F(-scale)
    whole = np.rint(F(edge / scale))
    bias = F(0)
    if whole != 0: scale, bias = F(edge / whole), edge
    q = np.clip(np.rint(((values - bias).astype(F) / scale).astype(F)), 0, most).astype(int)
    stream = sum(int(v) << (bits * i) for i, v in enumerate(q))
    words = [(stream >> (32 * i)) & 0xFFFFFFFF for i in range(len(values) * bits // 32)]
    return {"bits": bits, "scale": f"{bf16(scale):04x}", "bias": f"{bf16(bias):04x}", "words": "".join(f"{w:08x}" for w in words)}

def groups():
    rng = np.random.default_rng(35)
    for size in (32, 64, 128):
        yield "normal", rng.normal(0, 0.02, size)
        yield "outlier", np.append(rng.normal(0, 0.01, size - 1), -3.0)
        yield "positive", rng.uniform(0.5, 0.75, size)
        yield "negative", rng.uniform(-0.75, -0.5, size)
        yield "zero", np.zeros(size)
        yield "constant", np.full(size, 0.3)
        yield "tiny", rng.uniform(-1e-9, 1e-9, size)
        yield "ties", (np.arange(size) % 31 - 15) / 2          # many values half way between two steps
        yield "equal edges", np.where(np.arange(size) % 2, 1.0, -1.0)

out = []
for name, values in groups():
    values = np.asarray(values, F)
    out.append({"name": name, "values": "".join(f"{b:08x}" for b in values.view(np.uint32)),
                "quantized": [quantize(values, bits) for bits in (2, 3, 4, 5, 6, 8)]})
print(json.dumps(out, indent=0))
