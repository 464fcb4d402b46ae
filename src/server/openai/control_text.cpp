#include "server/openai/control_text.h"

#include "server/openai/errors.h"

namespace qwen35::server {
namespace {

void check(std::string_view text, const std::string& path, const RequestLimits& limits) {
  if (text.find('<') == std::string_view::npos) return;
  for (const std::string& token : limits.control_tokens) {
    const std::size_t found = text.find(token);
    if (found == std::string_view::npos) continue;
    throw bad_request(path, "control_token",
                      path + " holds " + token + " at byte " + std::to_string(found) +
                          ", a control token of the model; leave it out or write it otherwise. (A server started to "
                          "take control tokens as text reads it as plain characters.)");
  }
}

}  // namespace

std::vector<std::string> usual_control_tokens() {
  return {"<|endoftext|>",   "<|im_start|>",   "<|im_end|>",     "<|object_ref_start|>", "<|object_ref_end|>",
          "<|box_start|>",   "<|box_end|>",    "<|quad_start|>", "<|quad_end|>",         "<|vision_start|>",
          "<|vision_end|>",  "<|vision_pad|>", "<|image_pad|>",  "<|video_pad|>",        "<|fim_prefix|>",
          "<|fim_middle|>",  "<|fim_suffix|>", "<|fim_pad|>",    "<|repo_name|>",        "<|file_sep|>",
          "<|audio_start|>", "<|audio_end|>",  "<|audio_pad|>"};
}

void refuse_control_tokens(const json::Json& value, const std::string& path, const RequestLimits& limits) {
  if (limits.control_tokens_as_text) return;
  if (value.is_string()) {
    check(value.get_ref<const std::string&>(), path, limits);
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (value[i].is_string() || value[i].is_structured()) {
        refuse_control_tokens(value[i], path + "[" + std::to_string(i) + "]", limits);
      }
    }
  } else if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      check(key, path, limits);
      if (member.is_string() || member.is_structured()) refuse_control_tokens(member, path + "." + key, limits);
    }
  }
}

}  // namespace qwen35::server
