#include "server/openai/conversation_order.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "server/openai/request_fields.h"

namespace qwen35::server {
namespace {

using json::Json;
using json::refuse_field;

std::string id_of(const Json& object, const char* key, const std::string& path) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  json::expect(found->is_string(), "", path + "." + key, "a string", *found);
  return found->get<std::string>();
}

/// The ids of an assistant's calls; "" where a call has none.
std::vector<std::string> call_ids(const Json& message, const std::string& path) {
  std::vector<std::string> ids;
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || !calls->is_array()) return ids;
  for (std::size_t i = 0; i < calls->size(); ++i) ids.push_back(id_of((*calls)[i], "id", path + at(".tool_calls", i)));
  return ids;
}

/// The results messages[begin, end) of the calls `ids`: each with its place among the calls, sorted by it. Nothing
/// changes where ids are missing: then the order is the client's.
void order_results(std::vector<Message>& messages, const Json& list, std::size_t begin, std::size_t end,
                   const std::vector<std::string>& ids) {
  struct Result {
    std::size_t call;
    Message message;
  };
  std::vector<Result> results;
  for (std::size_t i = begin; i < end; ++i) {
    const std::string path = at("messages", i);
    const std::string id = id_of(list[i], "tool_call_id", path);
    if (id.empty() || ids.empty() || std::find(ids.begin(), ids.end(), "") != ids.end()) return;
    const auto call = static_cast<std::size_t>(std::find(ids.begin(), ids.end(), id) - ids.begin());
    if (call == ids.size()) {
      refuse_field(
          "", path + ".tool_call_id",
          "is " + json::quoted(Json(id)) + ", which none of the calls before it has; expected one of their ids");
    }
    const bool twice = std::any_of(results.begin(), results.end(), [&](const Result& r) { return r.call == call; });
    if (twice) refuse_field("", path + ".tool_call_id", "is answered twice; expected one result a call");
    results.push_back({call, messages[i]});
  }
  std::sort(results.begin(), results.end(), [](const Result& a, const Result& b) { return a.call < b.call; });
  for (std::size_t i = begin; i < end; ++i) messages[i] = std::move(results[i - begin].message);
}

void check_content(const Json& list, std::size_t index, const Message& message) {
  if (message.role == "assistant") return;
  const auto content = list[index].find("content");
  if (content == list[index].end() || content->is_null()) {
    refuse_field("", at("messages", index) + ".content", "is missing, expected a string or a list of text parts");
  }
}

}  // namespace

void order_messages(std::vector<Message>& messages, const Json& list) {
  if (messages.empty()) refuse_field("", "messages", "is empty, expected at least one message of the user");
  if (const std::string& role = messages.back().role; role != "user" && role != "tool") {
    refuse_field(
        "", at("messages", messages.size() - 1) + ".role",
        "is that of the last message and " + role + ", expected user or tool, so that there is something to reply to");
  }
  std::size_t leading = 0;
  while (messages[leading].role == "system") ++leading;  // the last one is none
  std::vector<std::string> ids;
  bool asked = false;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    check_content(list, i, messages[i]);
    const std::string& role = messages[i].role;
    asked = asked || role == "user";
    if (role == "system" && i >= leading) {
      refuse_field("", at("messages", i) + ".role",
                   "is system behind other messages; the model's template takes it at the beginning only");
    }
    if (role == "tool") {
      const std::size_t begin = i;
      while (i + 1 < messages.size() && messages[i + 1].role == "tool") ++i;
      for (std::size_t k = begin + 1; k <= i; ++k) check_content(list, k, messages[k]);
      order_results(messages, list, begin, i + 1, ids);
      ids.clear();
    } else {
      ids = role == "assistant" ? call_ids(list[i], at("messages", i)) : std::vector<std::string>();
    }
  }
  if (!asked) refuse_field("", "messages", "has no message of the user, expected at least one");
  if (leading > 1) {
    for (std::size_t i = 1; i < leading; ++i) messages.front().content += "\n\n" + messages[i].content;
    messages.erase(messages.begin() + 1, messages.begin() + static_cast<std::ptrdiff_t>(leading));
  }
}

}  // namespace qwen35::server
