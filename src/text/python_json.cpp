#include "text/python_json.h"

#include <qwen35/error.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string_view>

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

void write_string(std::string& out, std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  out.push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\b':
        out += "\\b";
        break;
      default:
        if (const auto byte = static_cast<unsigned char>(c); byte < 0x20) {
          out.append("\\u00").append({hex[byte >> 4], hex[byte & 15U]});
        } else {
          out.push_back(c);
        }
    }
  }
  out.push_back('"');
}

void write(std::string& out, const Json& value, std::size_t depth) {
  if (depth > json_depth_limit) {
    throw Error(ErrorCode::invalid_argument,
                "a JSON value is nested more than " + std::to_string(json_depth_limit) + " levels deep");
  }
  switch (value.type()) {
    case Json::value_t::object: {
      out.push_back('{');
      std::string_view separator;
      for (const auto& [key, item] : value.get_ref<const Json::object_t&>()) {
        out.append(separator);
        write_string(out, key);
        out.append(": ");
        write(out, item, depth + 1);
        separator = ", ";
      }
      out.push_back('}');
      break;
    }
    case Json::value_t::array: {
      out.push_back('[');
      std::string_view separator;
      for (const Json& item : value) {
        out.append(separator);
        write(out, item, depth + 1);
        separator = ", ";
      }
      out.push_back(']');
      break;
    }
    case Json::value_t::string:
      write_string(out, value.get_ref<const std::string&>());
      break;
    case Json::value_t::boolean:
      out.append(value.get<bool>() ? "true" : "false");
      break;
    case Json::value_t::number_integer:
      out.append(std::to_string(value.get<std::int64_t>()));
      break;
    case Json::value_t::number_unsigned:
      out.append(std::to_string(value.get<std::uint64_t>()));
      break;
    case Json::value_t::number_float:
      out.append(python_repr(value.get<double>()));
      break;
    case Json::value_t::binary:
      out.append(value.get_binary().begin(), value.get_binary().end());
      break;
    case Json::value_t::null:
    case Json::value_t::discarded:
      out.append("null");
      break;
  }
}

}  // namespace

std::string python_repr(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  // to_chars gives the shortest digits, as "d.ddde±xx"; only the layout is left to do.
  std::array<char, 40> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(result.ptr - buffer.data()));
  const std::size_t e = text.find('e');
  std::string digits;
  std::string out;
  for (const char c : text.substr(0, e)) {
    if (c == '-') out.push_back('-');
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  const auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out.push_back(digits[0]);
    if (count > 1) out.append(".").append(digits, 1);
    const std::string power = std::to_string(std::abs(exponent));
    return out.append(exponent < 0 ? "e-" : "e+").append(power.size() < 2 ? "0" : "").append(power);
  }
  if (exponent < 0) return out.append("0.").append(static_cast<std::size_t>(-exponent - 1), '0').append(digits);
  if (count <= exponent + 1) {
    return out.append(digits).append(static_cast<std::size_t>(exponent + 1 - count), '0').append(".0");
  }
  const auto whole = static_cast<std::size_t>(exponent + 1);
  return out.append(digits, 0, whole).append(".").append(digits, whole);
}

std::string python_json(const Json& value) {
  std::string out;
  write(out, value, 0);
  return out;
}

std::string python_str(const Json& value) {
  switch (value.type()) {
    case Json::value_t::string:
      return value.get<std::string>();
    case Json::value_t::boolean:
      return value.get<bool>() ? "True" : "False";
    case Json::value_t::null:
      return "None";
    default:
      return python_json(value);
  }
}

}  // namespace qwen35
