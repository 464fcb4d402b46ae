#pragma once

#include <string_view>

namespace qwen35::server {

/// Tells the service manager that started this process, if one asked to be told (NOTIFY_SOCKET, as systemd has it):
/// "READY=1", "STOPPING=1". Says nothing otherwise, and never fails: a server works without a manager.
void notify_manager(std::string_view state);

}  // namespace qwen35::server
