#include "backend/cuda/prefill/product_kernel.cuh"

namespace qwen35::cuda {

template ProductEntry product_entry<8>(ProductShape shape, Products::Path path, bool single);

}  // namespace qwen35::cuda
