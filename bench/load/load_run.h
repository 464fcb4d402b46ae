#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "conversation.h"
#include "load_client.h"

namespace qwen35::load {

/// One measurement.
struct LoadPlan {
  std::size_t clients = 1;  ///< that each wait for a reply before they ask again; with a rate: most requests at once
  double rate = 0;          ///< requests a second that come whatever the server does (Poisson); 0: clients that wait
  double seconds = 60;      ///< in which requests begin; those begun are read to their end
  double warm_seconds = 0;  ///< before, not counted
  std::uint64_t seed = 1;
  int pid = 0;  ///< of the server, to sample its memory; 0: not
};

struct MemorySample {
  double seconds = 0;  ///< since the beginning
  std::size_t bytes = 0;
};

struct LoadResult {
  LoadPlan plan;
  std::vector<Outcome> outcomes;     ///< of the requests that were due in the time that counts
  std::vector<MemorySample> memory;  ///< every 10 s, or more often in a short run
  Clock::time_point began;           ///< of the time that counts
  double wall_seconds = 0;           ///< to the end of the last request
  std::size_t not_sent = 0;          ///< due while all clients were busy; only with a rate
};

LoadResult run_load(const LoadPlan& plan, const RequestShape& request, const ConversationShape& conversation);

/// Memory of a process that is really there; 0: unknown.
std::size_t resident_bytes(int pid);

}  // namespace qwen35::load
