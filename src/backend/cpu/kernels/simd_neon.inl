// Four floats: the vector type that float_kernels.inl is written in. Included inside an anonymous namespace.
struct V {
  static constexpr std::size_t width = 4;
  float32x4_t v;
  static V load(const float* p) { return {vld1q_f32(p)}; }
  static V set(float x) { return {vdupq_n_f32(x)}; }
  static V zero() { return {vdupq_n_f32(0.0F)}; }
  static V load_bf16(const std::uint16_t* p) { return {vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))}; }
  static V load_f16(const std::uint16_t* p) { return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))}; }
  void store(float* p) const { vst1q_f32(p, v); }
  void store_f16(std::uint16_t* p) const { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v))); }
  friend V operator+(V a, V b) { return {vaddq_f32(a.v, b.v)}; }
  friend V operator-(V a, V b) { return {vsubq_f32(a.v, b.v)}; }
  friend V operator*(V a, V b) { return {vmulq_f32(a.v, b.v)}; }
  friend V operator/(V a, V b) { return {vdivq_f32(a.v, b.v)}; }
  static V max(V a, V b) { return {vmaxq_f32(a.v, b.v)}; }
  static V min(V a, V b) { return {vminq_f32(a.v, b.v)}; }
  static V fma(V a, V b, V c) { return {vfmaq_f32(c.v, a.v, b.v)}; }   // a·b + c
  static V fnma(V a, V b, V c) { return {vfmsq_f32(c.v, a.v, b.v)}; }  // c − a·b
  static V round(V a) { return {vrndnq_f32(a.v)}; }
  /// x · 2^n for integral n in [-126, 127].
  static V scale(V x, V n) {
    const int32x4_t bits = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n.v), vdupq_n_s32(127)), 23);
    return {vmulq_f32(x.v, vreinterpretq_f32_s32(bits))};
  }
  /// a, but 0 in the lanes where x < limit.
  static V zero_where_less(V a, V x, V limit) {
    return {vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(a.v), vcltq_f32(x.v, limit.v)))};
  }
  /// The sums of four vectors' lanes.
  static void sum4(V a, V b, V c, V d, float* out) {
    vst1q_f32(out, vpaddq_f32(vpaddq_f32(a.v, b.v), vpaddq_f32(c.v, d.v)));
  }
  [[nodiscard]] float sum() const { return vaddvq_f32(v); }
  [[nodiscard]] float highest() const { return vmaxvq_f32(v); }
};
