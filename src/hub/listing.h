#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/partial_file.h"

namespace qwen35::hub {

/// Reads the commit out of the hub's answer about a revision ({"sha": ...}). Throws bad_file naming `source`.
std::string parse_commit(std::string_view json, std::string_view source);

/// Reads one page of a tree listing, an array of {"type", "path", "size", "oid", "lfs": {"oid", "size"}}, and adds its
/// files to `files`. Throws bad_file naming `source`: malformed, a name that would leave the folder or upset a
/// terminal, a hash that is none, a size beyond 1 TiB, more than 100000 files.
void parse_tree(std::string_view json, std::string_view source, std::vector<RemoteFile>& files);

/// The address of the next page out of a Link header, `<...>; rel="next"`; "": this was the last one.
std::string next_page(std::string_view link);

}  // namespace qwen35::hub
