#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qwen35 {

/// What a value looks like against a JSON Schema.
struct SchemaCheck {
  /// One sentence each: the path, what was found, what was expected. At most 16; empty: the value fits.
  std::vector<std::string> problems;
  /// Keywords of the schema that were met and not checked, as "path: keyword" or with a reason. Nothing is passed over
  /// in silence: what is not known is here, or it is an annotation (title, description, default, examples, $schema,
  /// $id, $comment, $defs, definitions, deprecated, readOnly, writeOnly).
  std::vector<std::string> unchecked;
};

/// Checks `value` (as parse_json() gives it) by `schema`. Keywords (2020-12): type, enum, const, required, properties,
/// additionalProperties, items, minItems, maxItems, minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength,
/// maxLength (in characters), pattern (PCRE2's dialect, which is ECMAScript's but for rarities), anyOf, oneOf, allOf,
/// and $ref to "#" or "#/..." within `root`. `path` names the value in sentences. Bounded whatever the input: 64 levels
/// of schema, 100,000 steps, PCRE2's match limits; what goes past is a problem.
SchemaCheck check_json(const nlohmann::ordered_json& value, const nlohmann::ordered_json& schema,
                       const nlohmann::ordered_json& root, const std::string& path);

/// What "#" or "#/..." names within `root`; null: nothing.
const nlohmann::ordered_json* resolve_reference(const nlohmann::ordered_json& root, const std::string& reference);

}  // namespace qwen35
