#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "constraint/expression.h"

namespace qwen35::constraint {

/// What is known of rules and expressions before anything is copied: which rules reach themselves, and how large each
/// expression becomes when small rules are copied into their callers.
class RuleGraph {
 public:
  /// Throws invalid_argument for a rule that is used and not defined.
  RuleGraph(const Expressions& expressions, RuleId root);

  [[nodiscard]] bool recursive(RuleId rule) const { return info_[rule].recursive; }
  /// To be copied into its callers: not recursive, and small.
  [[nodiscard]] bool copied(RuleId rule) const { return info_[rule].copied; }
  /// NFA states, about; saturating.
  [[nodiscard]] std::uint64_t size(ExprId expr) const { return sizes_[expr].states; }
  /// Whether it calls a rule that is not copied.
  [[nodiscard]] bool calls(ExprId expr) const { return sizes_[expr].calls; }

 private:
  struct Info {
    std::uint32_t index = 0;  ///< in order of discovery, from 1
    std::uint32_t low = 0;
    bool on_stack = false;
    bool recursive = false;
    bool copied = false;
    std::uint32_t depth = 0;
  };
  struct Size {
    std::uint64_t states = 0;
    std::uint32_t depth = 0;  ///< of the expression with its copied rules, for the emitter's own stack
    bool known = false;
    bool calls = false;
  };
  void references(ExprId expr, std::vector<RuleId>& out);
  void visit(RuleId rule);
  Size measure(ExprId expr);

  const Expressions& expressions_;
  std::vector<Info> info_;
  std::vector<Size> sizes_;
  std::vector<RuleId> stack_;
  std::vector<std::uint32_t> seen_;
  std::uint32_t epoch_ = 0;
  std::uint32_t count_ = 0;
};

}  // namespace qwen35::constraint
