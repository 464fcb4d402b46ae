"""The Qwen3.5 text model written for training on packed rows; parameter names and meaning are transformers' Qwen3_5ForCausalLM.

A row holds several dialogues. `pos` [B, T] is the position inside a token's dialogue; where it is 0 the linear-attention state
and the convolution start afresh, and attention never crosses. check_model.py compares this file with transformers.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

CHUNK = 64
RESET = -30.0   # log decay at a dialogue's first token: e^-30 of the state before it is left


def rms(x, weight, eps):
    """Zero-centred RMSNorm in float32: weight is applied as 1 + weight."""
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * (1.0 + weight.float())


def linear(x, weight):
    return F.linear(x, weight.to(x.dtype))


def unit_lower_inverse(low):
    """(I + low)^-1 for strictly lower triangular `low` [..., C, C], C a power of two.

    Blocks of doubling size are inverted in place: the inverse of [[A, 0], [L, B]] has -B^-1 L A^-1 below. The last line is a Newton
    step whose value equals the inverse and whose derivative, with `inv` held constant, is the inverse's own.
    """
    size = low.shape[-1]
    eye = torch.eye(size, device=low.device, dtype=low.dtype)
    index = torch.arange(size, device=low.device)
    fixed = low.detach()
    inv = eye.expand_as(fixed)
    block = 1
    while block < size:
        # Below-diagonal blocks of pairs: same pair, row in its second half, column in its first.
        pair = index // (2 * block)
        half = index // block % 2
        mask = (pair[:, None] == pair[None, :]) & (half[:, None] == 1) & (half[None, :] == 0)
        inv = inv - inv @ (fixed * mask) @ inv
        block *= 2
    return 2 * inv - inv @ (eye + low) @ inv


def delta_rule(q, k, v, g, beta):
    """Gated delta rule in chunks, float32. q, k [B, T, H, K], v [B, T, H, V], g (log decay) and beta [B, T, H]; T % CHUNK == 0."""
    batch, length, heads, key_dim = k.shape
    chunks = length // CHUNK
    q, k, v = (x.float().transpose(1, 2).reshape(batch, heads, chunks, CHUNK, -1) for x in (q, k, v))
    g, beta = (x.float().transpose(1, 2).reshape(batch, heads, chunks, CHUNK) for x in (g, beta))
    q = q * torch.rsqrt(q.pow(2).sum(-1, keepdim=True) + 1e-6) * key_dim ** -0.5
    k = k * torch.rsqrt(k.pow(2).sum(-1, keepdim=True) + 1e-6)
    total = g.cumsum(-1)
    ones = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=q.device)
    decay = (total.unsqueeze(-1) - total.unsqueeze(-2)).masked_fill(ones.triu(1), float("-inf")).exp()
    k_beta = k * beta.unsqueeze(-1)
    kt = k.transpose(-1, -2)
    inv = unit_lower_inverse((k_beta @ kt * decay).masked_fill(ones.triu(0), 0.0))
    within = q @ kt * decay
    fresh = inv @ (v * beta.unsqueeze(-1))
    seen = inv @ (k_beta * total.exp().unsqueeze(-1))
    q = q * total.exp().unsqueeze(-1)
    k = k * (total[..., -1:] - total).exp().unsqueeze(-1)
    carry = total[..., -1].exp()[..., None, None]
    state = torch.zeros(batch, heads, key_dim, v.shape[-1], device=q.device)
    out = []
    for i in range(chunks):
        new = fresh[:, :, i] - seen[:, :, i] @ state
        out.append(q[:, :, i] @ state + within[:, :, i] @ new)
        state = state * carry[:, :, i] + k[:, :, i].transpose(-1, -2) @ new
    return torch.stack(out, 2).reshape(batch, heads, length, -1).transpose(1, 2)


class LinearAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        keys, values = c["linear_num_key_heads"] * c["linear_key_head_dim"], c["linear_num_value_heads"] * c["linear_value_head_dim"]
        hidden, heads = c["hidden_size"], c["linear_num_value_heads"]
        self.split = [keys, keys, values]
        self.in_proj_qkv = nn.Linear(hidden, 2 * keys + values, bias=False)
        self.in_proj_z = nn.Linear(hidden, values, bias=False)
        self.in_proj_b = nn.Linear(hidden, heads, bias=False)
        self.in_proj_a = nn.Linear(hidden, heads, bias=False)
        self.conv1d = nn.Conv1d(2 * keys + values, 2 * keys + values, c["linear_conv_kernel_dim"], groups=2 * keys + values, bias=False)
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        # softplus(dt_bias) spread over 0.001 .. 0.1, as in Mamba: memories from ten to thousands of tokens.
        step = torch.exp(torch.empty(heads).uniform_(-6.9, -2.3))
        self.dt_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.norm = nn.Module()
        self.norm.weight = nn.Parameter(torch.ones(c["linear_value_head_dim"]))
        self.out_proj = nn.Linear(values, hidden, bias=False)

    def inputs(self, x, qkv):
        """q, k, v [B, T, heads, dim] after the convolution, and log decay and beta [B, T, heads]."""
        c = self.c
        q, k, v = qkv.split(self.split, -1)
        q = q.unflatten(-1, (-1, c["linear_key_head_dim"]))
        k = k.unflatten(-1, (-1, c["linear_key_head_dim"]))
        v = v.unflatten(-1, (-1, c["linear_value_head_dim"]))
        groups = v.shape[2] // k.shape[2]
        if groups > 1:
            q, k = q.repeat_interleave(groups, 2), k.repeat_interleave(groups, 2)
        beta = linear(x, self.in_proj_b.weight).float().sigmoid()
        g = -self.A_log.float().exp() * F.softplus(linear(x, self.in_proj_a.weight).float() + self.dt_bias.float())
        return q, k, v, g, beta

    def output(self, y, x):
        z = linear(x, self.in_proj_z.weight).unflatten(-1, (-1, y.shape[-1])).float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.c["rms_norm_eps"]) * self.norm.weight.float() * F.silu(z)
        return linear(y.flatten(-2).to(x.dtype), self.out_proj.weight)

    def forward(self, x, pos, rope, mask):
        qkv = linear(x, self.in_proj_qkv.weight).float()
        taps = self.conv1d.weight[:, 0].float()
        size = taps.shape[-1]
        mixed = qkv * taps[:, size - 1]
        for back in range(1, size):
            shifted = F.pad(qkv, (0, 0, back, 0))[:, :qkv.shape[1]]
            mixed = mixed + shifted * taps[:, size - 1 - back] * (pos >= back).unsqueeze(-1)
        q, k, v, g, beta = self.inputs(x, F.silu(mixed))
        g = torch.where((pos == 0).unsqueeze(-1), RESET, g)
        return self.output(delta_rule(q, k, v, g, beta), x)

    def step(self, x, state, t, rope):
        """One token a row: x [B, 1, hidden]; state {"conv": [B, C, kernel - 1], "s": [B, H, K, V]} is updated in place."""
        qkv = linear(x, self.in_proj_qkv.weight).float()
        window = torch.cat([state["conv"], qkv.transpose(1, 2)], -1)
        state["conv"].copy_(window[:, :, 1:])
        mixed = (window * self.conv1d.weight[:, 0].float()).sum(-1).unsqueeze(1)
        q, k, v, g, beta = self.inputs(x, F.silu(mixed))
        q, k, v, g, beta = q[:, 0], k[:, 0], v[:, 0], g[:, 0], beta[:, 0]
        q = q * torch.rsqrt(q.pow(2).sum(-1, keepdim=True) + 1e-6) * q.shape[-1] ** -0.5
        k = k * torch.rsqrt(k.pow(2).sum(-1, keepdim=True) + 1e-6)
        s = state["s"] * g.exp()[..., None, None]
        delta = beta.unsqueeze(-1) * (v - (s * k.unsqueeze(-1)).sum(-2))
        s = s + k.unsqueeze(-1) * delta.unsqueeze(-2)
        state["s"].copy_(s)
        return self.output((s * q.unsqueeze(-1)).sum(-2).unsqueeze(1), x)


def rotate(x, rope):
    """Rotary embedding (split halves) on the first dimensions of x [B, heads, T, D]; rope holds cos and sin [B, 1, T, R/2]."""
    cos, sin = rope
    half = cos.shape[-1]
    a, b, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


class FullAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        hidden, dim, heads, kv = c["hidden_size"], c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]
        self.q_proj = nn.Linear(hidden, heads * dim * 2, bias=False)
        self.k_proj = nn.Linear(hidden, kv * dim, bias=False)
        self.v_proj = nn.Linear(hidden, kv * dim, bias=False)
        self.o_proj = nn.Linear(heads * dim, hidden, bias=False)
        for name in ("q_norm", "k_norm"):
            norm = nn.Module()
            norm.weight = nn.Parameter(torch.zeros(dim))
            setattr(self, name, norm)

    def project(self, x, rope):
        """q, k, v [B, heads, T, D] (rotated) and the gate [B, T, heads * D]."""
        c = self.c
        q, gate = linear(x, self.q_proj.weight).unflatten(-1, (c["num_attention_heads"], 2 * c["head_dim"])).chunk(2, -1)
        k = linear(x, self.k_proj.weight).unflatten(-1, (-1, c["head_dim"]))
        v = linear(x, self.v_proj.weight).unflatten(-1, (-1, c["head_dim"]))
        q = rotate(rms(q, self.q_norm.weight, c["rms_norm_eps"]).transpose(1, 2), rope)
        k = rotate(rms(k, self.k_norm.weight, c["rms_norm_eps"]).transpose(1, 2), rope)
        return q.to(x.dtype), k.to(x.dtype), v.transpose(1, 2), gate.flatten(-2)

    def attend(self, q, k, v, gate, mask):
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = y.transpose(1, 2).flatten(-2) * torch.sigmoid(gate.float()).to(q.dtype)
        return linear(y, self.o_proj.weight)

    def forward(self, x, pos, rope, mask):
        return self.attend(*self.project(x, rope), mask)

    def step(self, x, state, t, rope):
        """One token a row; state {"k", "v"}: [B, kv heads, capacity, D]. `t` is the common index of this token."""
        q, k, v, gate = self.project(x, rope)
        state["k"][:, :, t] = k[:, :, 0]
        state["v"][:, :, t] = v[:, :, 0]
        return self.attend(q, state["k"][:, :, :t + 1], state["v"][:, :, :t + 1], gate, None)


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.up_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.down_proj = nn.Linear(c["intermediate_size"], c["hidden_size"], bias=False)

    def forward(self, x):
        return linear(F.silu(linear(x, self.gate_proj.weight)) * linear(x, self.up_proj.weight), self.down_proj.weight)


class Layer(nn.Module):
    def __init__(self, c, kind):
        super().__init__()
        self.eps = c["rms_norm_eps"]
        if kind == "linear_attention":
            self.linear_attn = LinearAttention(c)
        else:
            self.self_attn = FullAttention(c)
        self.mlp = Mlp(c)
        for name in ("input_layernorm", "post_attention_layernorm"):
            norm = nn.Module()
            norm.weight = nn.Parameter(torch.zeros(c["hidden_size"]))
            setattr(self, name, norm)

    @property
    def mixer(self):
        return self.linear_attn if hasattr(self, "linear_attn") else self.self_attn

    def forward(self, x, pos, rope, mask, dtype):
        x = x + self.mixer(rms(x, self.input_layernorm.weight, self.eps).to(dtype), pos, rope, mask).float()
        return x + self.mlp(rms(x, self.post_attention_layernorm.weight, self.eps).to(dtype)).float()

    def step(self, x, state, t, rope, dtype):
        x = x + self.mixer.step(rms(x, self.input_layernorm.weight, self.eps).to(dtype), state, t, rope).float()
        return x + self.mlp(rms(x, self.post_attention_layernorm.weight, self.eps).to(dtype)).float()


class Qwen35(nn.Module):
    """`config` is the text configuration as a dict. `dtype` is that of the matrix products; residuals stay float32."""

    def __init__(self, config, dtype=torch.float32):
        super().__init__()
        self.config, self.dtype = config, dtype
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.model.layers = nn.ModuleList(Layer(config, kind) for kind in config["layer_types"])
        self.model.norm = nn.Module()
        self.model.norm.weight = nn.Parameter(torch.zeros(config["hidden_size"]))
        std = config.get("initializer_range", 0.02)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=std / (2 * len(config["layer_types"])) ** 0.5 if name.endswith(("o_proj.weight", "out_proj.weight", "down_proj.weight")) else std)

    def rope(self, pos):
        rp = self.config["rope_parameters"]
        dim = int(self.config["head_dim"] * rp["partial_rotary_factor"])
        frequency = rp["rope_theta"] ** (-torch.arange(0, dim, 2, device=pos.device).float() / dim)
        angle = pos.float()[:, None, :, None] * frequency
        return angle.cos(), angle.sin()

    def forward(self, ids, pos):
        """Logits [B, T, vocab] of packed rows; T must be a multiple of CHUNK."""
        rope = self.rope(pos)
        dialogue = (pos == 0).long().cumsum(1)
        causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()
        mask = ((dialogue[:, :, None] == dialogue[:, None, :]) & causal).unsqueeze(1)
        x = self.model.embed_tokens(ids).float()
        for layer in self.model.layers:
            x = layer(x, pos, rope, mask, self.dtype)
        x = rms(x, self.model.norm.weight, self.config["rms_norm_eps"]).to(self.dtype)
        return linear(x, self.model.embed_tokens.weight)

    def new_state(self, batch, capacity):
        c, device = self.config, self.model.embed_tokens.weight.device
        states = []
        for layer in self.model.layers:
            if hasattr(layer, "linear_attn"):
                channels = sum(layer.linear_attn.split)
                states.append({"conv": torch.zeros(batch, channels, c["linear_conv_kernel_dim"] - 1, device=device),
                               "s": torch.zeros(batch, c["linear_num_value_heads"], c["linear_key_head_dim"], c["linear_value_head_dim"], device=device)})
            else:
                shape = (batch, c["num_key_value_heads"], capacity, c["head_dim"])
                states.append({"k": torch.zeros(shape, device=device, dtype=self.dtype), "v": torch.zeros(shape, device=device, dtype=self.dtype)})
        return states

    def step(self, ids, states, t):
        """Logits [B, vocab] after one more token a row, all rows at index t."""
        rope = self.rope(torch.full((1, 1), t, device=ids.device))
        x = self.model.embed_tokens(ids).unsqueeze(1).float()
        for layer, state in zip(self.model.layers, states):
            x = layer.step(x, state, t, rope, self.dtype)
        x = rms(x, self.model.norm.weight, self.config["rms_norm_eps"]).to(self.dtype)
        return linear(x, self.model.embed_tokens.weight)[:, 0]
