#include "text/schema_check.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "text/python_json.h"
#include "text/schema_pattern.h"
#include "text/utf8.h"

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostProblems = 16;
constexpr std::size_t kMostUnchecked = 64;
constexpr int kMostLevels = 64;
constexpr int kMostSteps = 100'000;

constexpr std::array<std::string_view, 12> kAnnotations = {"title",       "description", "default",  "examples",
                                                           "$schema",     "$id",         "$comment", "$defs",
                                                           "definitions", "deprecated",  "readOnly", "writeOnly"};

bool is_integer(const Json& value) { return value.is_number_integer() || value.is_binary(); }
bool is_number(const Json& value) { return value.is_number() || value.is_binary(); }

/// 64 bits of mantissa where doubles have 53: integers compare exactly.
long double number(const Json& value) {
  if (value.is_number_unsigned()) return static_cast<long double>(value.get<std::uint64_t>());
  if (value.is_number_integer()) return static_cast<long double>(value.get<std::int64_t>());
  if (value.is_number_float()) return static_cast<long double>(value.get<double>());
  const auto& digits = value.get_binary();  // an integer beyond 64 bits
  return std::strtold(std::string(digits.begin(), digits.end()).c_str(), nullptr);
}

bool has_type(const Json& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "number") return is_number(value);
  if (type == "integer") {
    return is_integer(value) || (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>());
  }
  return false;
}

bool is_type_name(const Json& name) {
  constexpr std::array<std::string_view, 7> names = {"object", "array",  "string", "boolean",
                                                     "null",   "number", "integer"};
  return name.is_string() && std::find(names.begin(), names.end(), name.get_ref<const std::string&>()) != names.end();
}

/// A value as sentences show it: cut where it is long.
std::string shown(const Json& value) {
  constexpr std::size_t longest = 60;
  std::string text;
  try {
    if (value.is_string() && value.get_ref<const std::string&>().size() > longest) {
      text = python_json(value.get_ref<const std::string&>().substr(0, longest + 4));
    } else if ((value.is_object() || value.is_array()) && value.size() > longest) {
      return (value.is_object() ? "an object of " : "an array of ") + std::to_string(value.size());
    } else {
      text = python_json(value);
    }
  } catch (const std::exception&) {
    return "a deeply nested value";
  }
  if (text.size() <= longest) return text;
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;
  return text.substr(0, end) + "…";
}

std::string member_path(const std::string& path, const std::string& name) {
  const std::string text = shown(name);
  return path + "." + text.substr(1, text.size() - (text.ends_with('"') ? 2 : 1));
}

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80; }));
}

class Checker {
 public:
  explicit Checker(const Json& root) : root_(root) {}

  /// Appends to `problems_`.
  void check(const Json& value, const Json& schema, const std::string& path);

  SchemaCheck take() { return {std::move(problems_), std::move(unchecked_)}; }

 private:
  void check_keyword(const Json& value, const Json& schema, const std::string& key, const Json& rule,
                     const std::string& path);
  bool check_group(const Json& value, const std::string& key, const Json& rule, const std::string& path);
  bool check_object(const Json& value, const Json& schema, const std::string& key, const Json& rule,
                    const std::string& path);
  bool check_bounds(const Json& value, const std::string& key, const Json& rule, const std::string& path);
  void check_pattern(const Json& value, const std::string& pattern, const std::string& path);
  void check_reference(const Json& value, const std::string& reference, const std::string& path);
  std::vector<std::string> problems_with(const Json& value, const Json& schema, const std::string& path);
  bool equal(const Json& a, const Json& b);

  [[nodiscard]] bool full() const { return problems_.size() >= kMostProblems || gave_up_; }
  bool step();
  void problem(std::string sentence) {
    if (problems_.size() < kMostProblems) problems_.push_back(std::move(sentence));
  }
  void expected(const Json& value, const std::string& path, const std::string& what) {
    problem(path + " is " + shown(value) + "; expected " + what);
  }
  void unchecked(const std::string& path, const std::string& keyword) {
    std::string entry = path + ": " + keyword;
    if (unchecked_.size() < kMostUnchecked &&
        std::find(unchecked_.begin(), unchecked_.end(), entry) == unchecked_.end())
      unchecked_.push_back(std::move(entry));
  }

  const Json& root_;
  std::vector<std::string> problems_;
  std::vector<std::string> unchecked_;
  int level_ = 0;
  int steps_ = 0;
  bool gave_up_ = false;
};

/// Counts work. False: it is too much.
bool Checker::step() {
  if (gave_up_) return false;
  if (++steps_ <= kMostSteps) return true;
  gave_up_ = true;
  problem("the arguments and their schema are too large or too ambiguous to check");
  return false;
}

void Checker::check(const Json& value, const Json& schema, const std::string& path) {
  if (!step()) return;
  if (schema.is_boolean()) {
    if (!schema.get<bool>()) expected(value, path, "nothing here");
    return;
  }
  if (!schema.is_object()) {
    unchecked(path, "a schema that is neither an object nor a boolean");
    return;
  }
  if (level_ >= kMostLevels) {
    problem(path + " cannot be checked: its schema is nested more than " + std::to_string(kMostLevels) +
            " levels deep, or a $ref leads to itself");
    return;
  }
  ++level_;
  for (const auto& [key, rule] : schema.get_ref<const Json::object_t&>()) {
    if (full() || !step()) break;
    check_keyword(value, schema, key, rule, path);
  }
  --level_;
}

void Checker::check_keyword(const Json& value, const Json& schema, const std::string& key, const Json& rule,
                            const std::string& path) {
  if (std::find(kAnnotations.begin(), kAnnotations.end(), key) != kAnnotations.end()) return;
  bool understood = false;
  if (key == "type") {
    understood = is_type_name(rule) || (rule.is_array() && std::all_of(rule.begin(), rule.end(), is_type_name));
    const auto fits = [&](const Json& name) { return has_type(value, name.get_ref<const std::string&>()); };
    if (understood && !(rule.is_array() ? std::any_of(rule.begin(), rule.end(), fits) : fits(rule))) {
      expected(value, path, (rule.is_array() ? "one of the types " : "the type ") + shown(rule));
    }
  } else if (key == "enum" || key == "const") {
    understood = key == "const" || rule.is_array();
    const auto is_value = [&](const Json& item) { return equal(item, value); };
    if (understood && !(key == "const" ? is_value(rule) : std::any_of(rule.begin(), rule.end(), is_value))) {
      expected(value, path, (key == "const" ? "" : "one of ") + shown(rule));
    }
  } else if (key == "$ref") {
    understood = rule.is_string();
    if (understood) check_reference(value, rule.get_ref<const std::string&>(), path);
  } else if (key == "pattern") {
    understood = rule.is_string();
    if (understood && value.is_string()) check_pattern(value, rule.get_ref<const std::string&>(), path);
  } else if (key == "items") {
    understood = rule.is_object() || rule.is_boolean();
    for (std::size_t i = 0; understood && value.is_array() && i < value.size() && !full(); ++i) {
      check(value[i], rule, path + "[" + std::to_string(i) + "]");
    }
  } else if (key == "anyOf" || key == "oneOf" || key == "allOf") {
    understood = check_group(value, key, rule, path);
  } else if (key == "properties" || key == "required" || key == "additionalProperties") {
    understood = check_object(value, schema, key, rule, path);
  } else {
    understood = check_bounds(value, key, rule, path);
  }
  if (!understood) unchecked(path, key);
}

/// Members of an object. False: the rule has not the form it must have.
bool Checker::check_object(const Json& value, const Json& schema, const std::string& key, const Json& rule,
                           const std::string& path) {
  if (key == "required") {
    if (!rule.is_array()) return false;
    for (const Json& name : rule) {
      if (!name.is_string()) return false;
      if (value.is_object() && step() && !value.contains(name.get_ref<const std::string&>())) {
        problem(path + " has no \"" + name.get_ref<const std::string&>() + "\"; expected it, as it is required");
      }
    }
    return true;
  }
  if (key == "properties") {
    if (!rule.is_object()) return false;
    if (!value.is_object()) return true;
    for (const auto& [name, inner] : rule.get_ref<const Json::object_t&>()) {
      if (full() || !step()) break;
      const auto found = value.find(name);
      if (found != value.end()) check(*found, inner, member_path(path, name));
    }
    return true;
  }
  if (!rule.is_boolean() && !rule.is_object()) return false;
  if (!value.is_object() || (rule.is_boolean() && rule.get<bool>())) return true;
  if (schema.contains("patternProperties")) return false;  // which are additional is not known then
  const auto known = schema.find("properties");
  for (const auto& [name, item] : value.get_ref<const Json::object_t&>()) {
    if (full() || !step()) break;
    if (known != schema.end() && known->is_object() && known->contains(name)) continue;
    if (rule.is_object()) {
      check(item, rule, member_path(path, name));
    } else {
      const bool some = known != schema.end() && known->is_object() && !known->empty();
      problem(path + " has " + shown(name) + ", which is not known; expected " +
              (some ? "only the properties of its schema" : "no properties"));
    }
  }
  return true;
}

/// anyOf, oneOf, allOf.
bool Checker::check_group(const Json& value, const std::string& key, const Json& rule, const std::string& path) {
  if (!rule.is_array() || rule.empty()) return false;
  std::size_t fitting = 0;
  std::string first;
  for (const Json& alternative : rule) {
    if (full()) return true;
    if (key == "allOf") {
      check(value, alternative, path);
      continue;
    }
    const std::vector<std::string> found = problems_with(value, alternative, path);
    if (gave_up_) return true;
    if (found.empty()) ++fitting;
    if (!found.empty() && first.empty()) first = found.front();
    if (fitting > 0 && key == "anyOf") return true;
  }
  if (key == "allOf" || fitting == 1) return true;
  const std::string count = std::to_string(rule.size());
  if (fitting == 0) {
    problem(path + " fits none of the " + count + " forms it may have; of the first: " + first);
  } else {
    problem(path + " fits " + std::to_string(fitting) + " of " + count + " forms; expected exactly one (oneOf)");
  }
  return true;
}

std::vector<std::string> Checker::problems_with(const Json& value, const Json& schema, const std::string& path) {
  std::vector<std::string> outer = std::exchange(problems_, {});
  check(value, schema, path);
  std::vector<std::string> found = std::exchange(problems_, std::move(outer));
  if (gave_up_ && !found.empty()) problem(found.back());
  return found;
}

/// Numbers, lengths and counts. False: not a keyword of these, or its rule is no number.
bool Checker::check_bounds(const Json& value, const std::string& key, const Json& rule, const std::string& path) {
  const bool of_number = key == "minimum" || key == "maximum" || key == "exclusiveMinimum" || key == "exclusiveMaximum";
  const bool of_length = key == "minLength" || key == "maxLength";
  const bool of_items = key == "minItems" || key == "maxItems";
  if ((!of_number && !of_length && !of_items) || !is_number(rule)) return false;
  const bool at_least = key.starts_with("min") || key == "exclusiveMinimum";
  std::string what = at_least ? "at least " : "at most ";
  if (key.starts_with("exclusive")) what = at_least ? "more than " : "less than ";
  what += shown(rule);
  long double amount = 0;
  if (of_number && is_number(value)) {
    amount = number(value);
  } else if (of_length && value.is_string()) {
    amount = static_cast<long double>(characters(value.get_ref<const std::string&>()));
    what += " characters";
  } else if (of_items && value.is_array()) {
    amount = static_cast<long double>(value.size());
    what += " items";
  } else {
    return true;  // says nothing about other types
  }
  const long double bound = number(rule);
  const bool holds = at_least ? amount >= bound : amount <= bound;
  if (!holds || (key.starts_with("exclusive") && amount == bound)) expected(value, path, what);
  return true;
}

void Checker::check_pattern(const Json& value, const std::string& pattern, const std::string& path) {
  steps_ += 100;  // a search costs more than other checks
  switch (search_pattern(pattern, to_valid_utf8(value.get_ref<const std::string&>()))) {
    case PatternResult::found:
      return;
    case PatternResult::absent:
      expected(value, path, "a match of the pattern " + pattern);
      return;
    case PatternResult::bad_pattern:
      unchecked(path, "pattern (it does not compile)");
      return;
    case PatternResult::gave_up:
      problem(path + " cannot be checked: matching the pattern " + pattern + " takes too long");
      return;
  }
}

void Checker::check_reference(const Json& value, const std::string& reference, const std::string& path) {
  const Json* target = resolve_reference(root_, reference);
  if (target == nullptr) {
    unchecked(path, "$ref (" + reference + " is not in this schema)");
  } else {
    check(value, *target, path);
  }
}

/// JSON's equality: the order of members does not count, 1 is 1.0.
bool Checker::equal(const Json& a, const Json& b) {
  if (!step()) return false;
  if (is_number(a) && is_number(b)) {
    return a.is_binary() && b.is_binary() ? a.get_binary() == b.get_binary() : number(a) == number(b);
  }
  if (a.type() != b.type() || a.size() != b.size()) return false;
  if (a.is_array()) {
    return std::equal(a.begin(), a.end(), b.begin(), [&](const Json& x, const Json& y) { return equal(x, y); });
  }
  if (a.is_object()) {
    const auto& items = a.get_ref<const Json::object_t&>();
    return std::all_of(items.begin(), items.end(), [&](const auto& item) {
      const auto found = b.find(item.first);
      return found != b.end() && equal(item.second, *found);
    });
  }
  return a == b;
}

}  // namespace

SchemaCheck check_json(const Json& value, const Json& schema, const Json& root, const std::string& path) {
  Checker checker(root);
  checker.check(value, schema, path);
  return checker.take();
}

const Json* resolve_reference(const Json& root, const std::string& reference) {
  if (!reference.starts_with('#')) return nullptr;
  const Json* at = &root;
  std::size_t pos = 1;
  while (pos < reference.size()) {
    if (reference[pos] != '/') return nullptr;
    const std::size_t end = std::min(reference.find('/', pos + 1), reference.size());
    std::string name;
    for (std::size_t i = pos + 1; i < end; ++i) {  // ~1 is a slash, ~0 a tilde (RFC 6901)
      const bool escaped = reference[i] == '~' && i + 1 < end && (reference[i + 1] == '0' || reference[i + 1] == '1');
      name += escaped ? (reference[++i] == '1' ? '/' : '~') : reference[i];
    }
    if (at->is_object()) {
      const auto found = at->find(name);
      if (found == at->end()) return nullptr;
      at = &*found;
    } else if (at->is_array()) {
      std::size_t index = 0;
      const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), index);
      if (error != std::errc() || stop != name.data() + name.size() || index >= at->size()) return nullptr;
      at = &(*at)[index];
    } else {
      return nullptr;
    }
    pos = end;
  }
  return at;
}

}  // namespace qwen35
