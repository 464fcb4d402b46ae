#include "constraint/rule_graph.h"

#include <algorithm>

namespace qwen35::constraint {
namespace {

constexpr std::uint64_t copied_states = 4000;
constexpr std::uint32_t copied_depth = 400;
constexpr std::uint64_t saturated = std::uint64_t{1} << 40;

}  // namespace

RuleGraph::RuleGraph(const Expressions& expressions, RuleId root)
    : expressions_(expressions),
      info_(expressions.rules().size()),
      sizes_(expressions.size()),
      seen_(expressions.size(), 0) {
  visit(root);
}

void RuleGraph::references(ExprId expr, std::vector<RuleId>& out) {
  if (seen_[expr] == epoch_) return;
  seen_[expr] = epoch_;
  const Expr& node = expressions_[expr];
  if (node.kind == Expr::Kind::rule) out.push_back(node.min);
  for (const ExprId part : node.parts) references(part, out);
}

/// Tarjan's strongly connected components; a component is complete before those that call it.
void RuleGraph::visit(RuleId rule) {
  const Expressions::Rule& source = expressions_.rules()[rule];
  if (!source.defined) refuse(source.name, "is used but not defined; define it");
  info_[rule].index = info_[rule].low = ++count_;
  info_[rule].on_stack = true;
  stack_.push_back(rule);
  std::vector<RuleId> targets;
  ++epoch_;
  references(source.body, targets);
  std::sort(targets.begin(), targets.end());
  targets.erase(std::unique(targets.begin(), targets.end()), targets.end());
  for (const RuleId target : targets) {
    if (target == rule) info_[rule].recursive = true;
    if (info_[target].index == 0) {
      visit(target);
      info_[rule].low = std::min(info_[rule].low, info_[target].low);
    } else if (info_[target].on_stack) {
      info_[rule].low = std::min(info_[rule].low, info_[target].index);
    }
  }
  if (info_[rule].low != info_[rule].index) return;
  const auto first = std::find(stack_.begin(), stack_.end(), rule);
  const std::vector<RuleId> component(first, stack_.end());
  stack_.erase(first, stack_.end());
  for (const RuleId member : component) {
    info_[member].on_stack = false;
    if (component.size() > 1) info_[member].recursive = true;
  }
  for (const RuleId member : component) {
    const Size size = measure(expressions_.rules()[member].body);
    info_[member].depth = size.depth;
    info_[member].copied = !info_[member].recursive && size.states <= copied_states && size.depth <= copied_depth;
  }
}

RuleGraph::Size RuleGraph::measure(ExprId expr) {
  if (sizes_[expr].known) return sizes_[expr];
  const Expr& node = expressions_[expr];
  Size size{1, 1, true, false};
  for (const ExprId part : node.parts) {
    const Size inner = measure(part);
    size.states += inner.states;
    size.depth = std::max(size.depth, inner.depth + 1);
    size.calls = size.calls || inner.calls;
  }
  if (node.kind == Expr::Kind::bytes) size.states = node.text.size() + 1;
  if (node.kind == Expr::Kind::ranges) size.states = node.ranges.size();
  if (node.kind == Expr::Kind::rule) {
    if (info_[node.min].copied) {
      size = measure(expressions_.rules()[node.min].body);
      size.depth += 1;
    } else {
      size.calls = true;
    }
  }
  std::uint64_t copies = 1;
  if (node.kind == Expr::Kind::repeat) copies = node.max == unbounded ? node.min : node.max;
  if (node.kind == Expr::Kind::list) {
    const ListExpr& list = expressions_.list_at(node.min);
    if (list.has_rest) copies = list.rest_max == unbounded ? list.rest_min : list.rest_max;
    // Only the rest is repeated.
    if (list.has_rest) size.states += (std::max<std::uint64_t>(copies, 1) - 1) * measure(list.rest).states;
    copies = 1;
  }
  size.states =
      size.states * std::clamp<std::uint64_t>(
                        copies, 1, std::max<std::uint64_t>(1, saturated / std::max<std::uint64_t>(size.states, 1)));
  size.states = std::min(size.states, saturated);
  sizes_[expr] = size;
  return size;
}

}  // namespace qwen35::constraint
