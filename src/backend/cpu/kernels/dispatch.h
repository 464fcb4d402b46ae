#pragma once

#include <vector>

#include "backend/cpu/kernels/kernels.h"

namespace qwen35::cpu {

/// The tables this machine can run, the best last. The scalar one is always there.
std::vector<const Kernels*> supported_kernels();

/// The best table, or the one that the environment variable QWEN35_ISA names (scalar, avx2, avx512, avx512bf16, neon).
/// Throws invalid_argument when that one is unknown or not supported here.
const Kernels& select_kernels();

}  // namespace qwen35::cpu
