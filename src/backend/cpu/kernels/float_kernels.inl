// The float kernels, written once over the vector type V of the including file (simd_*.inl). Included inside an
// anonymous namespace, so that nothing compiled for one instruction set can be linked into another; for the same reason
// it uses no inline function of the standard library (std::max, std::sqrt). Shapes: kernels.h.

/// Vectors of columns that a strip takes, enough independent sums to cover the latency of a multiply-add.
constexpr std::size_t kStrip = V::width == 4 ? 8 : 4;
/// Columns of a tile of sums: 4 rows × 4 are 16 of 32 registers; AVX2 has 16 in all.
constexpr std::size_t kTileColumns = V::width == 8 ? 2 : 4;

inline float larger(float a, float b) { return a > b ? a : b; }

/// e^x to about 2 ulp: x = n ln2 + r with |r| <= ln2 / 2, a degree-6 polynomial in r, times 2^n. Below -87 the result
/// is exactly 0 (masked scores are -inf); above 88 it saturates near the largest float.
inline V exponential(V argument) {
  V x = argument;
  x = V::min(V::max(x, V::set(-87.0F)), V::set(88.0F));
  const V n = V::round(x * V::set(1.44269504F));
  V r = V::fnma(n, V::set(0.693359375F), x);  // ln2 in two parts, the first exact in few bits
  r = V::fnma(n, V::set(-2.12194440e-4F), r);
  V p = V::set(1.0F / 720.0F);
  p = V::fma(p, r, V::set(1.0F / 120.0F));
  p = V::fma(p, r, V::set(1.0F / 24.0F));
  p = V::fma(p, r, V::set(1.0F / 6.0F));
  p = V::fma(p, r, V::set(0.5F));
  p = V::fma(p, r, V::set(1.0F));
  p = V::fma(p, r, V::set(1.0F));
  return V::zero_where_less(V::scale(p, n), argument, V::set(-87.0F));
}

inline V sigmoid(V x) { return V::set(1.0F) / (V::set(1.0F) + exponential(V::zero() - x)); }

/// Runs f(offset) for each full vector of n and tail(i) through a padded copy for the rest: one code path for any
/// length.
template <typename F>
inline void for_vectors(std::size_t n, F&& f) {
  std::size_t i = 0;
  for (; i + V::width <= n; i += V::width) f(i, V::width);
  if (i < n) f(i, n - i);
}

inline V load_part(const float* p, std::size_t count) {
  if (count == V::width) return V::load(p);
  float lanes[V::width] = {};
  for (std::size_t i = 0; i < count; ++i) lanes[i] = p[i];
  return V::load(lanes);
}

inline void store_part(V v, float* p, std::size_t count) {
  if (count == V::width) {
    v.store(p);
    return;
  }
  float lanes[V::width];
  v.store(lanes);
  for (std::size_t i = 0; i < count; ++i) p[i] = lanes[i];
}

inline float sum_of_squares(const float* x, std::size_t n) {
  V sum = V::zero();
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    const V v = load_part(x + i, count);
    sum = V::fma(v, v, sum);
  });
  return sum.sum();
}

void rms_norm(const float* x, const float* w, std::size_t n, float eps, float* out) {
  const V factor = V::set(1.0F / __builtin_sqrtf(sum_of_squares(x, n) / static_cast<float>(n) + eps));
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    store_part(load_part(x + i, count) * factor * load_part(w + i, count), out + i, count);
  });
}

void l2_norm(float* x, std::size_t n, float scale) {
  const V factor = V::set(scale / __builtin_sqrtf(sum_of_squares(x, n) + 1e-6F));
  for_vectors(n, [&](std::size_t i, std::size_t count) { store_part(load_part(x + i, count) * factor, x + i, count); });
}

void add(float* x, const float* y, std::size_t n) {
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    store_part(load_part(x + i, count) + load_part(y + i, count), x + i, count);
  });
}

void scale(float* x, float factor, std::size_t n) {
  for_vectors(
      n, [&](std::size_t i, std::size_t count) { store_part(load_part(x + i, count) * V::set(factor), x + i, count); });
}

void axpby(float* x, float a, const float* y, float b, std::size_t n) {
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    store_part(V::fma(V::set(b), load_part(y + i, count), V::set(a) * load_part(x + i, count)), x + i, count);
  });
}

void decay_scale(float* x, float factor, float to, const float* from, std::size_t n) {
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    const V decay = exponential(V::set(to) - load_part(from + i, count));
    store_part(load_part(x + i, count) * (V::set(factor) * decay), x + i, count);
  });
}

void silu_mul(float* gate, const float* up, std::size_t n) {
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    const V g = load_part(gate + i, count);
    store_part(g * sigmoid(g) * load_part(up + i, count), gate + i, count);
  });
}

void mul_silu(float* out, const float* z, std::size_t n) {
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    const V v = load_part(z + i, count);
    store_part(load_part(out + i, count) * (v * sigmoid(v)), out + i, count);
  });
}

void mul_sigmoid(float* out, const float* gate, std::size_t n) {
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    store_part(load_part(out + i, count) * sigmoid(load_part(gate + i, count)), out + i, count);
  });
}

void conv_silu(const float* const* rows, const float* w, std::size_t w_stride, std::size_t taps, std::size_t n,
               float* out) {
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    V sum = V::zero();
    for (std::size_t tap = 0; tap < taps; ++tap) {
      sum = V::fma(load_part(rows[tap] + i, count), load_part(w + tap * w_stride + i, count), sum);
    }
    store_part(sum * sigmoid(sum), out + i, count);
  });
}

float softmax_block(float* x, std::size_t n, float factor, float* highest) {
  const V f = V::set(factor);
  float top = *highest;
  for (std::size_t i = 0; i < n; ++i) {
    if (i + V::width <= n) {
      top = larger(top, (V::load(x + i) * f).highest());
      i += V::width - 1;
    } else {
      top = larger(top, x[i] * factor);
    }
  }
  *highest = top;
  const V shift = V::set(top);
  V sum = V::zero();
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    const V scaled = load_part(x + i, count) * f - shift;
    V e = exponential(scaled);
    if (count < V::width) {  // the lanes past the end must not count
      store_part(e, x + i, count);
      e = load_part(x + i, count);
    } else {
      e.store(x + i);
    }
    sum = sum + e;
  });
  return sum.sum();
}

void to_f16(const float* x, std::uint16_t* out, std::size_t n) {
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    const V v = load_part(x + i, count);
    if (count == V::width) {
      v.store_f16(out + i);
      return;
    }
    std::uint16_t lanes[V::width];
    v.store_f16(lanes);
    for (std::size_t j = 0; j < count; ++j) out[i + j] = lanes[j];
  });
}

void from_f16(const std::uint16_t* x, float* out, std::size_t n) {
  for_vectors(n, [&](std::size_t i, std::size_t count) {
    if (count == V::width) {
      V::load_f16(x + i).store(out + i);
      return;
    }
    std::uint16_t lanes[V::width] = {};
    for (std::size_t j = 0; j < count; ++j) lanes[j] = x[i + j];
    store_part(V::load_f16(lanes), out + i, count);
  });
}

inline float bf16_value(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

inline std::uint16_t nearest_bf16(float value) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
  const std::uint32_t rounded = bits + 0x7FFFU + (bits >> 16 & 1U);
  return static_cast<std::uint16_t>((nan ? bits | 0x400000U : rounded) >> 16);  // a quiet NaN stays one
}

void split_row(const float* x, std::size_t n, std::size_t width, std::uint16_t* values) {
  for (std::size_t c = 0; c < n; c += kSplitColumns, values += 2 * kSplitColumns * width) {
    for (std::size_t i = 0; i < kSplitColumns; ++i) {
      const float value = c + i < n ? x[c + i] : 0.0F;
      const std::uint16_t high = nearest_bf16(value);
      const float rest = value - bf16_value(high);  // not a number when the value is not finite
      values[i] = high;
      values[kSplitColumns + i] = rest - rest == 0.0F ? nearest_bf16(rest) : std::uint16_t{0};
    }
  }
}

/// One strip of delta_step: `N` vectors of value columns. Two passes over the strip of S, which fits the first-level
/// cache.
template <std::size_t N>
inline void delta_strip(float* s, std::size_t dk, std::size_t dv, const float* q, const float* k, const float* v,
                        float g, float beta, float* y) {
  V memory[N];
#pragma GCC unroll 8
  for (std::size_t j = 0; j < N; ++j) memory[j] = V::zero();
  for (std::size_t i = 0; i < dk; ++i) {
    const V ki = V::set(k[i]);
#pragma GCC unroll 8
    for (std::size_t j = 0; j < N; ++j) memory[j] = V::fma(ki, V::load(s + i * dv + j * V::width), memory[j]);
  }
  const V decay = V::set(g);
  V u[N];
  V out[N];
#pragma GCC unroll 8
  for (std::size_t j = 0; j < N; ++j) {
    u[j] = V::set(beta) * V::fnma(decay, memory[j], V::load(v + j * V::width));
    out[j] = V::zero();
  }
  for (std::size_t i = 0; i < dk; ++i) {
    const V ki = V::set(k[i]);
    const V qi = V::set(q[i]);
#pragma GCC unroll 8
    for (std::size_t j = 0; j < N; ++j) {
      float* at = s + i * dv + j * V::width;
      const V moved = V::fma(ki, u[j], decay * V::load(at));
      moved.store(at);
      out[j] = V::fma(qi, moved, out[j]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t j = 0; j < N; ++j) out[j].store(y + j * V::width);
}

void delta_step(float* s, std::size_t dk, std::size_t dv, const float* q, const float* k, const float* v, float g,
                float beta, float* y) {
  std::size_t col = 0;
  for (; col + kStrip * V::width <= dv; col += kStrip * V::width)
    delta_strip<kStrip>(s + col, dk, dv, q, k, v + col, g, beta, y + col);
  for (; col + V::width <= dv; col += V::width) delta_strip<1>(s + col, dk, dv, q, k, v + col, g, beta, y + col);
  for (; col < dv; ++col) {
    float memory = 0;
    for (std::size_t i = 0; i < dk; ++i) memory += k[i] * s[i * dv + col];
    const float u = beta * (v[col] - g * memory);
    float out = 0;
    for (std::size_t i = 0; i < dk; ++i) {
      s[i * dv + col] = g * s[i * dv + col] + k[i] * u;
      out += q[i] * s[i * dv + col];
    }
    y[col] = out;
  }
}

void solve_lower(std::size_t n, std::size_t cols, const float* a, std::size_t lda, float* u, std::size_t ldu) {
  for (std::size_t i = 1; i < n; ++i) {
    std::size_t c = 0;
    for (; c + kStrip * V::width <= cols; c += kStrip * V::width) {
      V sum[kStrip];
#pragma GCC unroll 8
      for (std::size_t l = 0; l < kStrip; ++l) sum[l] = V::load(u + i * ldu + c + l * V::width);
      for (std::size_t j = 0; j < i; ++j) {
        const V factor = V::set(a[i * lda + j]);
#pragma GCC unroll 8
        for (std::size_t l = 0; l < kStrip; ++l)
          sum[l] = V::fnma(factor, V::load(u + j * ldu + c + l * V::width), sum[l]);
      }
#pragma GCC unroll 8
      for (std::size_t l = 0; l < kStrip; ++l) sum[l].store(u + i * ldu + c + l * V::width);
    }
    for_vectors(cols - c, [&](std::size_t offset, std::size_t count) {
      V sum = load_part(u + i * ldu + c + offset, count);
      for (std::size_t j = 0; j < i; ++j) {
        sum = V::fnma(V::set(a[i * lda + j]), load_part(u + j * ldu + c + offset, count), sum);
      }
      store_part(sum, u + i * ldu + c + offset, count);
    });
  }
}

// --- rows against rows
// -------------------------------------------------------------------------------------------------------

struct LoadF32 {
  using Type = float;
  static V load(const Type* p) { return V::load(p); }
  static float one(Type x) { return x; }
};
struct LoadBf16 {
  using Type = std::uint16_t;
  static V load(const Type* p) { return V::load_bf16(p); }
  static float one(Type x) {
    float lanes[V::width];
    const Type padded[V::width] = {x};
    V::load_bf16(padded).store(lanes);
    return lanes[0];
  }
};
struct LoadF16 {
  using Type = std::uint16_t;
  static V load(const Type* p) { return V::load_f16(p); }
  static float one(Type x) {
    float lanes[V::width];
    const Type padded[V::width] = {x};
    V::load_f16(padded).store(lanes);
    return lanes[0];
  }
};

/// M rows of a against N rows of b. Every c[m][n] is one vector accumulator over k in order, so a result does not
/// depend on which tile computed it.
template <std::size_t M, std::size_t N, typename B>
inline void dot_tile(std::size_t k, const float* a, std::size_t lda, const typename B::Type* b, std::size_t ldb,
                     float* c, std::size_t ldc) {
  V sum[M][N];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < N; ++j) sum[i][j] = V::zero();
  }
  std::size_t p = 0;
  for (; p + V::width <= k; p += V::width) {
    V av[M];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < M; ++i) av[i] = V::load(a + i * lda + p);
#pragma GCC unroll 8
    for (std::size_t j = 0; j < N; ++j) {
      const V bv = B::load(b + j * ldb + p);
#pragma GCC unroll 8
      for (std::size_t i = 0; i < M; ++i) sum[i][j] = V::fma(av[i], bv, sum[i][j]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < N; j += 4) {
      // Four sums at a time: alone, they would take as long as the products of a short k.
      const V last = sum[i][N - 1];
      const V second = j + 1 < N ? sum[i][j + 1] : last;
      const V third = j + 2 < N ? sum[i][j + 2] : last;
      const V fourth = j + 3 < N ? sum[i][j + 3] : last;
      if (N % 4 == 0 && p == k) {
        V::sum4(sum[i][j], second, third, fourth, c + i * ldc + j);
        continue;
      }
      float totals[4];
      V::sum4(sum[i][j], second, third, fourth, totals);
      for (std::size_t l = 0; l < 4 && j + l < N; ++l) {
        for (std::size_t rest = p; rest < k; ++rest) totals[l] += a[i * lda + rest] * B::one(b[(j + l) * ldb + rest]);
        c[i * ldc + j + l] = totals[l];
      }
    }
  }
}

template <std::size_t N, typename B>
inline void dot_rows(std::size_t m, std::size_t k, const float* a, std::size_t lda, const typename B::Type* b,
                     std::size_t ldb, float* c, std::size_t ldc) {
  std::size_t i = 0;
  for (; i + 4 <= m; i += 4) dot_tile<4, N, B>(k, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
  for (; i < m; ++i) dot_tile<1, N, B>(k, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
}

/// kTileColumns rows of b at a time, all rows of a against them.
template <typename B>
inline void gemm_nt_typed(std::size_t m, std::size_t n, std::size_t k, const float* a, std::size_t lda,
                          const void* data, std::size_t ldb, float* c, std::size_t ldc) {
  constexpr std::size_t tile = kTileColumns;
  const auto* b = static_cast<const typename B::Type*>(data);
  std::size_t j = 0;
  for (; j + tile <= n; j += tile) dot_rows<tile, B>(m, k, a, lda, b + j * ldb, ldb, c + j, ldc);
  for (; j < n; ++j) dot_rows<1, B>(m, k, a, lda, b + j * ldb, ldb, c + j, ldc);
}

void gemm_nt(std::size_t m, std::size_t n, std::size_t k, const float* a, std::size_t lda, Element element,
             const void* b, std::size_t ldb, float* c, std::size_t ldc) {
  if (element == Element::f32)
    gemm_nt_typed<LoadF32>(m, n, k, a, lda, b, ldb, c, ldc);
  else if (element == Element::bf16)
    gemm_nt_typed<LoadBf16>(m, n, k, a, lda, b, ldb, c, ldc);
  else
    gemm_nt_typed<LoadF16>(m, n, k, a, lda, b, ldb, c, ldc);
}

// --- rows against columns
// ----------------------------------------------------------------------------------------------------

/// M rows × N vectors of c.
template <std::size_t M, std::size_t N, typename B>
inline void product_tile(std::size_t k, const float* a, std::size_t lda, const typename B::Type* b, std::size_t ldb,
                         float* c, std::size_t ldc, bool accumulate) {
  V sum[M][N];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < N; ++j) sum[i][j] = accumulate ? V::load(c + i * ldc + j * V::width) : V::zero();
  }
  for (std::size_t p = 0; p < k; ++p) {
    V bv[N];
#pragma GCC unroll 8
    for (std::size_t j = 0; j < N; ++j) bv[j] = B::load(b + p * ldb + j * V::width);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < M; ++i) {
      const V av = V::set(a[i * lda + p]);
#pragma GCC unroll 8
      for (std::size_t j = 0; j < N; ++j) sum[i][j] = V::fma(av, bv[j], sum[i][j]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < N; ++j) sum[i][j].store(c + i * ldc + j * V::width);
  }
}

template <std::size_t N, typename B>
inline void product_rows(std::size_t m, std::size_t k, const float* a, std::size_t lda, const typename B::Type* b,
                         std::size_t ldb, float* c, std::size_t ldc, bool accumulate) {
  std::size_t i = 0;
  for (; i + 4 <= m; i += 4) product_tile<4, N, B>(k, a + i * lda, lda, b, ldb, c + i * ldc, ldc, accumulate);
  for (; i < m; ++i) product_tile<1, N, B>(k, a + i * lda, lda, b, ldb, c + i * ldc, ldc, accumulate);
}

template <typename B>
inline void gemm_nn_typed(std::size_t m, std::size_t n, std::size_t k, const float* a, std::size_t lda,
                          const void* data, std::size_t ldb, float* c, std::size_t ldc, bool accumulate) {
  constexpr std::size_t tile = kTileColumns;
  const auto* b = static_cast<const typename B::Type*>(data);
  std::size_t j = 0;
  for (; j + tile * V::width <= n; j += tile * V::width)
    product_rows<tile, B>(m, k, a, lda, b + j, ldb, c + j, ldc, accumulate);
  for (; j + V::width <= n; j += V::width) product_rows<1, B>(m, k, a, lda, b + j, ldb, c + j, ldc, accumulate);
  for (; j < n; ++j) {
    for (std::size_t i = 0; i < m; ++i) {
      float sum = accumulate ? c[i * ldc + j] : 0.0F;
      for (std::size_t p = 0; p < k; ++p) sum += a[i * lda + p] * B::one(b[p * ldb + j]);
      c[i * ldc + j] = sum;
    }
  }
}

void gemm_nn(std::size_t m, std::size_t n, std::size_t k, const float* a, std::size_t lda, Element element,
             const void* b, std::size_t ldb, float* c, std::size_t ldc, bool accumulate) {
  if (element == Element::f32)
    gemm_nn_typed<LoadF32>(m, n, k, a, lda, b, ldb, c, ldc, accumulate);
  else
    gemm_nn_typed<LoadF16>(m, n, k, a, lda, b, ldb, c, ldc, accumulate);
}
