#pragma once

#include <functional>
#include <string>
#include <vector>

namespace speech_core {

using ToolHandler = std::function<std::string(const std::string& name, const std::string& args)>;

struct ToolDefinition {
  std::string name;
  std::string description;
  std::vector<std::string> triggers;
  std::string command;
  ToolHandler handler;
  int timeout = 5;
  int cooldown = 30;
};

}  // namespace speech_core
