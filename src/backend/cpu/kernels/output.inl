// Included inside an anonymous namespace: nothing compiled for one instruction set may be linked into another.

/// Place of row `row`, a multiple of kBlockRows, for token `token`.
inline float* place(const Output& out, std::size_t row, std::size_t token) {
  return out.y + row / out.panel * out.panel_stride + token * out.stride + row % out.panel;
}
