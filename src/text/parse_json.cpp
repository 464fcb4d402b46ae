#include "text/parse_json.h"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

namespace qwen35 {
namespace {

using Json = nlohmann::ordered_json;

/// Builds the document for nlohmann's event parser, which keeps no recursion of its own. Ours because the library's
/// builder limits no depth, loses integers beyond 64 bits and searches an object for every key it adds.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonRules& rules) : rules_(rules) {}

  Json root;
  std::string error;
  std::string path;  ///< of the value that breaks a rule

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& text) override {
    if (text.find_first_of(".eE") != string_t::npos) return add(value);
    // An integer beyond 64 bits. The parser refuses what no double can hold: more than 308 digits.
    return add(Json::binary(std::vector<std::uint8_t>(text.begin(), text.end())));
  }
  bool string(string_t& value) override {
    const bool whole = rules_.nul || value.find('\0') == string_t::npos;
    add(std::move(value));
    return whole || fail("a string holds the character U+0000; leave it out");
  }
  bool binary(binary_t&) override { return fail("binary values are not JSON", false); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    auto& items = level.value->get_ref<Json::object_t&>();
    level.slot = nullptr;
    if (!rules_.nul && name.find('\0') != string_t::npos) return fail("a key holds the character U+0000; leave it out");
    // As in Python, a key given twice keeps its first place and its last value.
    constexpr std::size_t few = 16;
    if (items.size() < few) {
      const auto found = std::find_if(items.begin(), items.end(), [&](auto& item) { return item.first == name; });
      if (found != items.end()) level.slot = &found->second;
    } else {
      if (level.keys.empty()) {
        for (const auto& item : items) level.keys.insert(item.first);
      }
      if (!level.keys.insert(name).second) {
        level.slot = &std::find_if(items.begin(), items.end(), [&](auto& item) { return item.first == name; })->second;
      }
    }
    if (level.slot != nullptr && !rules_.repeated_keys) return fail("a key stands twice; give it once");
    if (level.slot == nullptr) {
      // Past ordered_map's own insertion, which searches the whole object.
      items.Json::object_t::Container::emplace_back(std::move(name), nullptr);
      level.slot = &items.back().second;
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    const std::string_view text = e.what();
    const std::size_t bracket = text.find("] ");
    constexpr std::size_t longest = 300;  // it may quote a token of any length
    error = (bracket == std::string_view::npos ? text : text.substr(bracket + 2)).substr(0, longest);
    if (error.find("byte") == std::string::npos && error.find("column") == std::string::npos) {
      error += " (at byte " + std::to_string(position) + ")";
    }
    return false;
  }

 private:
  struct Level {
    Json* value;
    Json* slot = nullptr;                  ///< where the next member of an object goes
    std::unordered_set<std::string> keys;  ///< of a large object
  };

  bool fail(std::string message, bool placed = true) {
    error = std::move(message);
    path = present_path(placed);
    if (placed && !path.empty()) error += " (at " + path + ")";
    return false;
  }

  /// Where the value stands that was placed last, or the one to be placed next.
  [[nodiscard]] std::string present_path(bool placed) const {
    constexpr std::size_t longest = 200;
    std::string out;
    for (const Level& level : levels_) {
      if (level.value->is_array()) {
        const bool inner = &level == &levels_.back();
        out += "[" + std::to_string(level.value->size() - (inner && !placed ? 0 : 1)) + "]";
      } else if (level.slot != nullptr) {
        const auto& items = level.value->get_ref<const Json::object_t&>();
        const auto item =
            std::find_if(items.begin(), items.end(), [&](auto& each) { return &each.second == level.slot; });
        out += (out.empty() ? "" : ".") + item->first;
      }
      if (out.size() > longest) return out.substr(0, longest) + "...";
    }
    return out;
  }

  Json* place(Json&& value) {
    if (levels_.empty()) {
      root = std::move(value);
      return &root;
    }
    Level& level = levels_.back();
    if (level.value->is_array()) {
      auto& items = level.value->get_ref<Json::array_t&>();
      items.push_back(std::move(value));
      return &items.back();
    }
    *level.slot = std::move(value);
    return level.slot;
  }

  bool add(Json&& value) {
    place(std::move(value));
    return true;
  }

  bool open(Json&& value) {
    if (levels_.size() >= rules_.depth) {
      return fail("nested more than " + std::to_string(rules_.depth) + " levels deep", false);
    }
    levels_.push_back({place(std::move(value)), nullptr, {}});
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  const JsonRules& rules_;
  std::vector<Level> levels_;  ///< an outer value does not move while an inner one is open
};

}  // namespace

Json parse_json(std::string_view text, std::string_view what, const JsonRules& rules) {
  Builder builder(rules);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    throw JsonError(std::string(what) + " cannot be read as JSON: " + builder.error, builder.path);
  }
  return std::move(builder.root);
}

}  // namespace qwen35
