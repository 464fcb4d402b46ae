#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/decode/decode_pass.h"

namespace qwen35::cuda {

/// How the mixers' kernels of a pass are started; decided before the pass is known, as a graph is played again.
struct BatchGrid {
  std::uint32_t rows = kPassRows;  ///< passes have at most so many rows (and sequences): the groups' rows
  std::uint32_t multiprocessors = 1;
  bool combine = false;  ///< a row may have more than one split (DecodeArgs::combine of every such pass)
  bool early = false;    ///< kernels may start before the one before them has ended (compute capability 9.0)
};

/// What layer `layer` does between its products `in` and `out`, for all sequences of a pass: reads buffers.in[0]
/// (row · in_floats, without tags) and the states; moves S, or writes keys and values into their pages; leaves the
/// activations of `out` as fragments in buffers.act_mixed: the group of rows 8 g … at word g · 8 · 128 · units of
/// `out`, each as Fragments<8> (decode_link.cuh), zeros in columns past the last and in rows past the pass's own.
/// buffers.part[0] and scale[0] (full layers, grid.combine) lie between its two kernels.
///
/// `pass` is device memory, written before the kernels run; sequences have 1 to kGroupRows tokens, entries of
/// `sequence` past the last are zeros. The ring's rows of the pass itself are not read (in[0] has them). What earlier
/// passes left in states is read before the kernel before has ended: a pass begins with a kernel that is not started
/// early. Puts work on `stream`; throws as check() does.
void batch_mix(const DecodeArgs* pass, const DeviceModel& model, std::uint32_t layer, const BatchGrid& grid,
               cudaStream_t stream);

}  // namespace qwen35::cuda
