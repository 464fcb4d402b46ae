#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "audio/voice_chain.h"

namespace qwen35::cli {

/// {"question", "answer", "heard", "interrupted", "finish_reason", "timing": {...}} of one turn.
nlohmann::ordered_json turn_to_json(const VoiceTurn& turn);

/// "you: ..." and "qwen35: ...", a line each, what nobody heard of an answer between brackets.
std::string turn_to_text(const VoiceTurn& turn);

/// The times of a turn, a line each.
std::string timing_to_text(const VoiceTurn& turn);

}  // namespace qwen35::cli
