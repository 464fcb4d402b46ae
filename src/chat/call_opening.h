#pragma once

#include <qwen35/options.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/token.h"
#include "chat/grammars.h"
#include "constraint/constraint.h"
#include "text/tokenizer.h"

namespace qwen35 {

/// How a reply begins that must call a tool: tokens that are written for the model, then a form that its own follow, up
/// to where the arguments begin (or the function's end, if it can do without any).
struct CallOpening {
  std::vector<TokenId> tokens;
  std::optional<Constraint> form;  ///< nullopt: the tokens say it all
};

/// What GenerateOptions::tool_choice asks for; nullopt: no call must be made. `tools`: the definitions the model was
/// given, or null. Throws invalid_argument as tool_choice says.
std::optional<CallOpening> call_opening(const GenerateOptions& options, const nlohmann::ordered_json& tools,
                                        const Tokenizer& tokenizer, Grammars& grammars);

}  // namespace qwen35
