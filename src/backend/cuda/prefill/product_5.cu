#include "backend/cuda/prefill/product_kernel.cuh"

namespace qwen35::cuda {

template ProductEntry product_entry<5>(ProductShape shape, Products::Path path, bool single);

}  // namespace qwen35::cuda
