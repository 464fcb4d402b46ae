#pragma once

#include <cmath>

#include "backend/cuda/device/layout.h"

namespace qwen35::cuda {

/// x / by for `by` from 1 to 12 and an x far from the ends of double's range: the same bits as a division, in three
/// operations. The reciprocals of these numbers are off by half a unit in the last place at most, so the first quotient
/// is less than one unit off, and one correction with the exact remainder rounds as the division does (Markstein 1990).
QWEN35_HD inline double divided(double x, int by) {
  const double reciprocal = 1.0 / by;
  const double quotient = x * reciprocal;
  const double remainder = fma(-quotient, static_cast<double>(by), x);
  return fma(remainder, reciprocal, quotient);
}

}  // namespace qwen35::cuda
