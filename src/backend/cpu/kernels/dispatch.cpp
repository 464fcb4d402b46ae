#include "backend/cpu/kernels/dispatch.h"

#include <qwen35/error.h>

#include <cstdlib>
#include <string>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace qwen35::cpu {
namespace {

#if defined(__x86_64__)
bool has_f16c() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

// __builtin_cpu_supports also asks whether the operating system saves the wide registers.
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c(); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
bool has_avx512bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#else
bool has_avx2() { return false; }
bool has_avx512() { return false; }
bool has_avx512bf16() { return false; }
#endif

#if defined(__aarch64__) && defined(__linux__)
bool has_neon_dot_product() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#else
bool has_neon_dot_product() { return false; }
#endif

}  // namespace

std::vector<const Kernels*> supported_kernels() {
  std::vector<const Kernels*> tables{scalar_kernels()};
  if (avx2_kernels() != nullptr && has_avx2()) tables.push_back(avx2_kernels());
  if (avx512_kernels() != nullptr && has_avx512()) tables.push_back(avx512_kernels());
  if (has_avx512bf16() && avx512bf16_kernels() != nullptr) tables.push_back(avx512bf16_kernels());
  if (neon_kernels() != nullptr && has_neon_dot_product()) tables.push_back(neon_kernels());
  return tables;
}

const Kernels& select_kernels() {
  const auto tables = supported_kernels();
  const char* wanted = std::getenv("QWEN35_ISA");
  if (wanted == nullptr || *wanted == '\0') return *tables.back();
  std::string names;
  for (const Kernels* table : tables) {
    if (std::string_view(table->name) == wanted) return *table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  throw Error(ErrorCode::invalid_argument,
              "QWEN35_ISA is \"" + std::string(wanted) + "\"; this machine and build can run: " + names);
}

}  // namespace qwen35::cpu
