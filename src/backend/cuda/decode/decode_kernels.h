#pragma once

// The kernels of decode passes, as the host sees them.

#include "backend/cuda/decode/decode_pass.h"

namespace qwen35::cuda {

/// Kernels that belong together: their results agree to the bit.
struct DecodeKernels {
  void (*pass_one)(DecodeArgs, DecodeLayout);  ///< a whole pass of one row
  void (*pass)(DecodeArgs, DecodeLayout);      ///< of some rows
  void (*replay)(ModelSizes, const DeviceLayer*, SequenceView);
  bool ring;  ///< passes take weights by way of a ring
};

/// Any sizes, any mix of formats.
DecodeKernels any_kernels(bool ring);
/// The shape of Qwen3.5-0.8B with all matrices in one format (groups of 64). They need compute capability 9.0.
DecodeKernels kernels_16();
DecodeKernels kernels_4();
DecodeKernels kernels_5();
DecodeKernels kernels_8();

}  // namespace qwen35::cuda
