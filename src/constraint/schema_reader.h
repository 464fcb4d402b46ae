#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "constraint/json_values.h"

namespace qwen35::constraint {

/// Turns schemas into expressions. A schema under a `$ref` becomes a rule, the others are written in place.
class SchemaReader {
 public:
  using Json = nlohmann::ordered_json;
  SchemaReader(const Json& root, Expressions& out) : root_(root), out_(out), values_(out) {}

  RuleId read();

 private:
  /// A schema and where it stands: `$.properties.x`.
  struct At {
    const Json& schema;
    std::string path;
    int depth;
    [[nodiscard]] const Json* find(const char* keyword) const;
    [[nodiscard]] At member(const Json& value, const std::string& name) const;
  };

  // json_schema.cpp: which keywords there are, and how schemas refer to each other.
  ExprId any(const At& at);
  ExprId one_type(const At& at, const std::string& type);
  ExprId reference(const At& at, const Json& pointer);
  ExprId branches(const At& at, const char* keyword);
  ExprId enumeration(const At& at, const std::set<std::string>& types);
  std::set<std::string> types_of(const At& at) const;
  void check_keywords(const At& at) const;
  void only_beside(const At& at, const char* keyword, std::initializer_list<std::string_view> allowed) const;

  // schema_values.cpp: one type each.
  ExprId object(const At& at);
  ExprId array(const At& at);
  ExprId string(const At& at);
  ExprId format(const At& at, const std::string& name);
  ExprId number(const At& at, bool integer);

  std::optional<std::uint32_t> count(const At& at, const char* keyword, std::uint32_t most) const;
  static std::optional<JsonValues::Bound> bound(const At& at, const char* keyword, const char* exclusive, bool low,
                                                bool integer);
  static std::string shown(const Json& value);

  const Json& root_;
  Expressions& out_;
  JsonValues values_;
  std::map<std::string, RuleId> references_;
  std::vector<std::pair<RuleId, std::string>> pending_;
};

}  // namespace qwen35::constraint
