#include "constraint/expression.h"

namespace qwen35::constraint {

void refuse(std::string_view place, std::string_view message) {
  throw Error(ErrorCode::invalid_argument, std::string(place) + ": " + std::string(message));
}

ExprId Expressions::add(Expr node) {
  weight_ += 1 + node.parts.size() + node.text.size() / 8;
  if (weight_ > expression_limit) {
    throw Error(ErrorCode::invalid_argument, "the grammar or schema is too large: more than " +
                                                 std::to_string(expression_limit) + " parts; use a smaller one");
  }
  nodes_.push_back(std::move(node));
  return static_cast<ExprId>(nodes_.size() - 1);
}

ExprId Expressions::bytes(std::string_view text) {
  Expr node{.kind = Expr::Kind::bytes, .min = 0, .max = 0, .text = std::string(text), .ranges = {}, .parts = {}};
  return add(std::move(node));
}

ExprId Expressions::byte_ranges(ByteRanges ranges) {
  Expr node;
  node.kind = Expr::Kind::ranges;
  node.ranges = std::move(ranges);
  return add(std::move(node));
}

ExprId Expressions::code_points(const CodePoints& set) {
  std::vector<ExprId> parts;
  for (ByteRanges& ranges : utf8_ranges(set)) parts.push_back(byte_ranges(std::move(ranges)));
  return parts.size() == 1 ? parts[0] : choice(std::move(parts));
}

ExprId Expressions::sequence(std::vector<ExprId> parts) {
  Expr node;
  node.kind = Expr::Kind::sequence;
  node.parts = std::move(parts);
  return add(std::move(node));
}

ExprId Expressions::choice(std::vector<ExprId> parts) {
  Expr node;
  node.kind = Expr::Kind::choice;
  node.parts = std::move(parts);
  return add(std::move(node));
}

ExprId Expressions::repeat(ExprId part, std::uint32_t min, std::uint32_t max) {
  Expr node;
  node.kind = Expr::Kind::repeat;
  node.min = min;
  node.max = max;
  node.parts = {part};
  return add(std::move(node));
}

ExprId Expressions::rule(RuleId rule) {
  Expr node;
  node.kind = Expr::Kind::rule;
  node.min = rule;
  return add(std::move(node));
}

ExprId Expressions::list(ListExpr list) {
  Expr node;
  node.kind = Expr::Kind::list;
  node.min = static_cast<std::uint32_t>(lists_.size());
  for (const ListExpr::Item& item : list.items) node.parts.push_back(item.expr);
  if (list.has_rest) node.parts.push_back(list.rest);
  lists_.push_back(std::move(list));
  return add(std::move(node));
}

ExprId Expressions::multiple(std::uint32_t of) {
  Expr node;
  node.kind = Expr::Kind::multiple;
  node.min = of;
  return add(std::move(node));
}

ExprId Expressions::both(ExprId a, ExprId b, std::string place) {
  Expr node;
  node.kind = Expr::Kind::both;
  node.parts = {a, b};
  node.text = std::move(place);
  return add(std::move(node));
}

ExprId Expressions::without(ExprId a, ExprId b, std::string place) {
  const ExprId id = both(a, b, std::move(place));
  nodes_[id].kind = Expr::Kind::without;
  return id;
}

RuleId Expressions::add_rule(std::string name) {
  if (rules_.size() >= rule_limit) {
    refuse(name, "one rule too many; at most " + std::to_string(rule_limit) + " are supported");
  }
  rules_.push_back({std::move(name), 0, false});
  return static_cast<RuleId>(rules_.size() - 1);
}

void Expressions::define(RuleId rule, ExprId body) {
  rules_[rule].body = body;
  rules_[rule].defined = true;
}

}  // namespace qwen35::constraint
