#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "constraint/pattern.h"
#include "constraint/schema_reader.h"
#include "text/utf8.h"

namespace qwen35::constraint {
namespace {

using Bound = JsonValues::Bound;

/// Formats as patterns. Dates know the length of months and leap years; hours, minutes and seconds their ranges.
constexpr std::string_view date_pattern =
    "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|"
    "02-(?:0[1-9]|1\\d|2[0-8]))|"
    "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)";
constexpr std::string_view time_pattern =
    "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
constexpr std::string_view uuid_pattern = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
constexpr std::string_view email_pattern =
    "[A-Za-z0-9_]+(?:[.+-][A-Za-z0-9_]+){0,4}@[A-Za-z0-9]+(?:-[A-Za-z0-9]+){0,3}"
    "(?:\\.[A-Za-z0-9]+(?:-[A-Za-z0-9]+){0,3}){0,3}\\.[A-Za-z]{2,12}";

/// The digits of a JSON number without exponent; nothing when it needs more than `most` on a side.
std::optional<Bound> decimal(const nlohmann::ordered_json& value, std::size_t most) {
  std::string text;
  if (value.is_number_float()) {
    std::array<char, 512> buffer{};
    const auto end =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), value.get<double>(), std::chars_format::fixed);
    text.assign(buffer.data(), end.ptr);
  } else if (value.is_number()) {
    text = value.dump();
  } else {
    return std::nullopt;
  }
  Bound bound;
  bound.negative = text.starts_with('-');
  if (bound.negative) text.erase(0, 1);
  const std::size_t point = std::min(text.find('.'), text.size());
  bound.integer = text.substr(0, point);
  if (point < text.size()) bound.fraction = text.substr(point + 1);
  while (bound.fraction.ends_with('0')) bound.fraction.pop_back();
  if (bound.integer == "0" && bound.fraction.empty()) bound.negative = false;
  if (bound.integer.size() > most || bound.fraction.size() >= JsonValues::number_digits) return std::nullopt;
  return bound;
}

/// a < b as -1, equal 0, greater 1.
int compare(const Bound& a, const Bound& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  const int sign = a.negative ? -1 : 1;
  if (a.integer.size() != b.integer.size()) return a.integer.size() < b.integer.size() ? -sign : sign;
  const int order = (a.integer + a.fraction).compare(b.integer + b.fraction);
  return order == 0 ? 0 : order < 0 ? -sign : sign;
}

std::string add_one(std::string digits) {
  for (std::size_t i = digits.size(); i-- > 0;) {
    if (digits[i] != '9') {
      ++digits[i];
      return digits;
    }
    digits[i] = '0';
  }
  return "1" + digits;
}

std::string minus_one(std::string digits) {
  for (std::size_t i = digits.size(); i-- > 0;) {
    if (digits[i] != '0') {
      --digits[i];
      break;
    }
    digits[i] = '9';
  }
  if (digits.size() > 1 && digits[0] == '0') digits.erase(0, 1);
  return digits;
}

/// The nearest integer inside the bound, included.
Bound to_integer(Bound bound, bool low) {
  const bool away_from_zero = low != bound.negative;
  if (!bound.fraction.empty()) {
    bound.fraction.clear();
    if (away_from_zero) bound.integer = add_one(bound.integer);
  } else if (!bound.inclusive) {
    if (away_from_zero) {
      bound.integer = add_one(bound.integer);
    } else if (bound.integer == "0") {
      bound.integer = "1";
      bound.negative = !bound.negative;
    } else {
      bound.integer = minus_one(bound.integer);
    }
  }
  if (bound.integer == "0") bound.negative = false;
  bound.inclusive = true;
  return bound;
}

}  // namespace

std::optional<std::uint32_t> SchemaReader::count(const At& at, const char* keyword, std::uint32_t most) const {
  const Json* value = at.find(keyword);
  if (value == nullptr) return std::nullopt;
  const std::string path = at.path + "." + keyword;
  const bool whole = value->is_number_float() && value->get<double>() >= 0 && value->get<double>() <= most &&
                     std::floor(value->get<double>()) == value->get<double>();
  if (whole) return static_cast<std::uint32_t>(value->get<double>());
  if (!value->is_number_unsigned()) refuse(path, "must be a whole number from 0 on, found " + shown(*value));
  if (value->get<std::uint64_t>() > most) {
    refuse(path, "found " + shown(*value) + "; at most " + std::to_string(most) + " is supported");
  }
  return static_cast<std::uint32_t>(value->get<std::uint64_t>());
}

ExprId SchemaReader::object(const At& at) {
  const Json* properties = at.find("properties");
  const Json* required = at.find("required");
  const Json* additional = at.find("additionalProperties");
  std::vector<std::string> wanted;
  if (required != nullptr) {
    if (!required->is_array()) refuse(at.path + ".required", "must be a list of names, found " + shown(*required));
    for (const Json& name : *required) {
      if (!name.is_string()) refuse(at.path + ".required", "must be a list of names, found " + shown(name));
      wanted.push_back(name.get<std::string>());
    }
  }
  if (properties != nullptr && !properties->is_object()) {
    refuse(at.path + ".properties", "must be an object, found " + shown(*properties));
  }
  const std::set<std::string> needed(wanted.begin(), wanted.end());
  std::set<std::string> missing = needed;
  ListExpr list;
  list.open = "{";
  list.close = "}";
  std::vector<ExprId> names;
  const auto add = [&](const std::string& name, ExprId value) {
    names.push_back(out_.bytes(values_.plain(name)));
    list.items.push_back({values_.member(values_.quoted(names.back()), value), needed.contains(name)});
    missing.erase(name);
  };
  if (properties != nullptr) {
    const At here = at.member(*properties, "properties");
    for (const auto& [name, schema] : properties->items()) {
      // A property that may be left out and has no valid value is always left out.
      if (schema == false && !needed.contains(name)) {
        names.push_back(out_.bytes(values_.plain(name)));
        continue;
      }
      add(name, any(here.member(schema, name)));
    }
  }
  const bool closed = additional == nullptr ? properties != nullptr : *additional == false;
  const auto rest = [&] {
    return additional == nullptr ? values_.any_value() : any(at.member(*additional, "additionalProperties"));
  };
  for (const std::string& name : wanted) {
    if (!missing.contains(name)) continue;
    if (closed) {
      refuse(at.path + ".required",
             "`" + to_valid_utf8(name.substr(0, 60)) + "` is not among the properties, and no others are allowed");
    }
    add(name, rest());
  }
  if (!closed) {
    list.has_rest = true;
    const ExprId key = names.empty()
                           ? values_.any_string()
                           : values_.quoted(out_.without(values_.plain_content(), out_.choice(names), at.path));
    list.rest = values_.member(key, rest());
  }
  return out_.list(std::move(list));
}

ExprId SchemaReader::array(const At& at) {
  constexpr std::uint32_t most_items = repetition_limit;
  const Json* prefix = at.find("prefixItems");
  const Json* items = at.find("items");
  const std::uint32_t min = count(at, "minItems", most_items).value_or(0);
  const std::optional<std::uint32_t> max = count(at, "maxItems", most_items);
  if (max && min > *max)
    refuse(at.path, "minItems " + std::to_string(min) + " is above maxItems " + std::to_string(*max));
  ListExpr list;
  list.open = "[";
  list.close = "]";
  list.positional = true;
  if (prefix != nullptr) {
    const At here = at.member(*prefix, "prefixItems");
    if (!prefix->is_array()) refuse(here.path, "must be a list of schemas, found " + shown(*prefix));
    for (std::size_t i = 0; i < prefix->size() && i < max.value_or(unbounded); ++i) {
      list.items.push_back({any({(*prefix)[i], here.path + "[" + std::to_string(i) + "]", here.depth}), i < min});
    }
  }
  if (items != nullptr && items->is_array()) refuse(at.path + ".items", "is a list; use prefixItems for it");
  const auto fixed = static_cast<std::uint32_t>(list.items.size());
  const bool closed = items == nullptr ? prefix != nullptr : *items == false;
  if (closed) {
    if (min > fixed) {
      refuse(at.path, "minItems " + std::to_string(min) + " is above the " + std::to_string(fixed) +
                          " items that are described");
    }
    return out_.list(std::move(list));
  }
  list.has_rest = true;
  list.rest_min = min > fixed ? min - fixed : 0;
  list.rest_max = max ? *max - fixed : unbounded;
  list.rest = items == nullptr ? values_.any_value() : any(at.member(*items, "items"));
  return out_.list(std::move(list));
}

ExprId SchemaReader::string(const At& at) {
  const std::optional<std::uint32_t> min = count(at, "minLength", repetition_limit);
  const std::optional<std::uint32_t> max = count(at, "maxLength", repetition_limit);
  if (min && max && *min > *max) {
    refuse(at.path, "minLength " + std::to_string(*min) + " is above maxLength " + std::to_string(*max));
  }
  const Json* pattern = at.find("pattern");
  const Json* name = at.find("format");
  std::vector<ExprId> parts;
  if (pattern != nullptr) {
    const std::string path = at.path + ".pattern";
    if (!pattern->is_string()) refuse(path, "must be a string, found " + shown(*pattern));
    // Met with all strings: a pattern that nothing matches is refused here, where its place is known.
    parts.push_back(out_.both(read_pattern(pattern->get_ref<const std::string&>(), path, values_, out_),
                              values_.plain_content(), path));
  }
  if (name != nullptr) {
    if (!name->is_string()) refuse(at.path + ".format", "must be a string, found " + shown(*name));
    parts.push_back(format(at, name->get<std::string>()));
  }
  const bool bounded = min.value_or(0) > 0 || max;
  const bool plain = !parts.empty();
  if (bounded || !plain) {
    const ExprId one = plain ? values_.plain_character(CodePoints::all()) : values_.free_character();
    parts.push_back(out_.repeat(one, min.value_or(0), max.value_or(unbounded)));
  }
  ExprId content = parts[0];
  for (std::size_t i = 1; i < parts.size(); ++i) content = out_.both(content, parts[i], at.path);
  return values_.quoted(content);
}

ExprId SchemaReader::format(const At& at, const std::string& name) {
  std::string pattern;
  if (name == "date") pattern = date_pattern;
  if (name == "time") pattern = time_pattern;
  if (name == "date-time") pattern = std::string(date_pattern) + "T" + std::string(time_pattern);
  if (name == "uuid") pattern = uuid_pattern;
  if (name == "email") pattern = email_pattern;
  if (pattern.empty()) {
    refuse(at.path + ".format",
           "found \"" + to_valid_utf8(name.substr(0, 60)) + "\"; supported are date, time, date-time, uuid and email");
  }
  return read_pattern("^(?:" + pattern + ")$", at.path + ".format", values_, out_);
}

std::optional<Bound> SchemaReader::bound(const At& at, const char* keyword, const char* exclusive, bool low,
                                         bool integer) {
  std::optional<Bound> tightest;
  for (const char* name : {keyword, exclusive}) {
    const Json* value = at.find(name);
    if (value == nullptr) continue;
    const std::string path = at.path + "." + name;
    if (!value->is_number() && !value->is_binary()) refuse(path, "must be a number, found " + shown(*value));
    const std::size_t most = integer ? JsonValues::integer_digits : JsonValues::number_digits;
    std::optional<Bound> found = decimal(*value, most);
    if (!found) {
      refuse(path, "found " + shown(*value) + "; bounds may have at most " + std::to_string(most) +
                       " digits before the point and " + std::to_string(JsonValues::number_digits - 1) + " behind it");
    }
    found->inclusive = name == keyword;
    if (tightest) {
      const int order = compare(*found, *tightest);
      // `exclusive` comes second and wins where both are equal.
      if (low ? order < 0 : order > 0) continue;
    }
    tightest = found;
  }
  return tightest;
}

ExprId SchemaReader::number(const At& at, bool integer) {
  const Json* multiple = at.find("multipleOf");
  std::size_t fraction = 0;
  std::uint32_t divisor = 1;
  if (multiple != nullptr) {
    const std::string path = at.path + ".multipleOf";
    constexpr std::uint32_t greatest = 1000;
    const std::optional<Bound> value = decimal(*multiple, 4);
    const bool whole = value && !value->negative && value->fraction.empty() && value->integer != "0" &&
                       std::stoul(value->integer) <= greatest;
    const bool tenth = value && !value->negative && value->integer == "0" && value->fraction.ends_with('1') &&
                       value->fraction.find_first_not_of('0') + 1 == value->fraction.size();
    if (!whole && !tenth) {
      refuse(path, "found " + shown(*multiple) + "; supported are whole numbers from 1 to " + std::to_string(greatest) +
                       " and 0.1, 0.01, ...");
    }
    if (whole) divisor = static_cast<std::uint32_t>(std::stoul(value->integer));
    if (tenth) fraction = value->fraction.size();
    // Multiples of a whole number are integers, and every integer is a multiple of a tenth.
    if (whole) integer = true;
  }
  std::optional<Bound> low = bound(at, "minimum", "exclusiveMinimum", true, integer);
  std::optional<Bound> high = bound(at, "maximum", "exclusiveMaximum", false, integer);
  if (!low && !high && multiple == nullptr) return integer ? values_.any_integer() : values_.any_number();
  if (integer) {
    if (low) low = to_integer(*low, true);
    if (high) high = to_integer(*high, false);
  }
  if (low && high) {
    const int order = compare(*low, *high);
    if (order > 0 || (order == 0 && !(low->inclusive && high->inclusive))) {
      refuse(at.path, "no number is between its bounds");
    }
  }
  for (const auto* side : {&low, &high}) {
    if (*side && (*side)->integer.size() > (integer ? JsonValues::integer_digits : JsonValues::number_digits)) {
      refuse(at.path, "its bounds leave only integers with too many digits");
    }
  }
  if (integer) {
    const ExprId range = values_.integer(low, high);
    return divisor == 1 ? range : out_.both(range, out_.multiple(divisor), at.path);
  }
  if (fraction == 0) {
    // One more digit than the bounds have, so that something fits between them.
    fraction = 6;
    for (const auto* side : {&low, &high}) {
      if (*side) fraction = std::max(fraction, (*side)->fraction.size() + 1);
    }
  }
  const ExprId range = values_.number(low, high, fraction);
  return out_.both(range, range, at.path);
}

}  // namespace qwen35::constraint
