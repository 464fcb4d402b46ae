#pragma once

#include <qwen35/error.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "constraint/code_points.h"

namespace qwen35::constraint {

using ExprId = std::uint32_t;
using RuleId = std::uint32_t;

inline constexpr std::uint32_t unbounded = std::numeric_limits<std::uint32_t>::max();

/// What a grammar may cost. Everything beyond is refused with invalid_argument.
inline constexpr std::size_t expression_limit = 400'000;
inline constexpr std::size_t rule_limit = 4096;
inline constexpr std::uint32_t repetition_limit = 4096;

/// Throws invalid_argument "`place`: `message`".
[[noreturn]] void refuse(std::string_view place, std::string_view message);

/// Elements between brackets with separators, in order: a JSON object or array.
struct ListExpr {
  struct Item {
    ExprId expr = 0;
    bool required = true;
  };
  std::string open;
  std::string close;
  std::vector<Item> items;
  bool has_rest = false;  ///< behind the items: `rest`, rest_min to rest_max times
  ExprId rest = 0;
  std::uint32_t rest_min = 0;
  std::uint32_t rest_max = unbounded;
  bool positional = false;  ///< an array: behind an item that is left out nothing follows
};

/// One node of a grammar's right sides. Parts are older nodes: the graph has no cycle but through rules.
struct Expr {
  enum class Kind : std::uint8_t {
    bytes,     ///< `text`
    ranges,    ///< a byte of each of `ranges`, one behind the other
    sequence,  ///< all `parts`
    choice,    ///< one of `parts`; none: matches nothing
    repeat,    ///< parts[0], `min` to `max` times
    rule,      ///< rule number `min`
    list,      ///< list number `min`
    both,      ///< what parts[0] and parts[1] match; neither may hold a rule. `text` is the place for errors
    multiple,  ///< decimal integers, with a minus or not, that `min` divides
    without,   ///< what parts[0] matches and parts[1] does not; otherwise as `both`
  };
  Kind kind = Kind::bytes;
  std::uint32_t min = 0;
  std::uint32_t max = 0;
  std::string text;
  ByteRanges ranges;
  std::vector<ExprId> parts;
};

/// Rules and their right sides, as the front ends (JSON Schema, GBNF) build them for compile().
class Expressions {
 public:
  struct Rule {
    std::string name;  ///< for errors
    ExprId body = 0;
    bool defined = false;
  };

  ExprId bytes(std::string_view text);
  ExprId code_points(const CodePoints& set);
  ExprId byte_ranges(ByteRanges ranges);
  ExprId sequence(std::vector<ExprId> parts);
  ExprId choice(std::vector<ExprId> parts);
  ExprId repeat(ExprId part, std::uint32_t min, std::uint32_t max);
  ExprId optional(ExprId part) { return repeat(part, 0, 1); }
  ExprId rule(RuleId rule);
  ExprId list(ListExpr list);
  ExprId multiple(std::uint32_t of);
  ExprId both(ExprId a, ExprId b, std::string place);
  ExprId without(ExprId a, ExprId b, std::string place);

  RuleId add_rule(std::string name);
  void define(RuleId rule, ExprId body);

  [[nodiscard]] const Expr& operator[](ExprId id) const { return nodes_[id]; }
  [[nodiscard]] const ListExpr& list_at(std::uint32_t index) const { return lists_[index]; }
  [[nodiscard]] const std::vector<Rule>& rules() const { return rules_; }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }

 private:
  ExprId add(Expr node);
  std::vector<Expr> nodes_;
  std::vector<ListExpr> lists_;
  std::vector<Rule> rules_;
  std::size_t weight_ = 0;
};

}  // namespace qwen35::constraint
