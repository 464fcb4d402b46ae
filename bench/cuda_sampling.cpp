// What choosing tokens on the GPU costs, and what copying the logits and choosing on the host costs instead. No Google
// Benchmark in it: a call is timed with all that it really does, median and 99th percentile of many.
//
//   cuda_sampling [vocabulary]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/device/device.h"
#include "backend/cuda/sampling/sampling.h"
#include "sampling/sampler.h"

namespace qwen35::cuda {
namespace {

constexpr int kCalls = 300;
constexpr int kWarmUp = 30;

struct Times {
  double median = 0;
  double late = 0;  ///< 99th percentile
};

Times of(std::vector<double> microseconds) {
  std::sort(microseconds.begin(), microseconds.end());
  return {microseconds[microseconds.size() / 2], microseconds[microseconds.size() * 99 / 100]};
}

Times host_times(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  for (int i = 0; i < kWarmUp + kCalls; ++i) {
    const Clock::time_point begin = Clock::now();
    call();
    if (i >= kWarmUp) times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  return of(std::move(times));
}

class Event {
 public:
  Event() { check(cudaEventCreate(&event_), "making an event"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { (void)cudaEventDestroy(event_); }
  void record() { check(cudaEventRecord(event_, nullptr), "recording an event"); }
  /// Microseconds since `begin`; waits for both.
  double since(const Event& begin) {
    float milliseconds = 0;
    check(cudaEventSynchronize(event_), "waiting for an event");
    check(cudaEventElapsedTime(&milliseconds, begin.event_, event_), "asking for a time");
    return 1000.0 * static_cast<double>(milliseconds);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

struct Way {
  const char* name;
  SamplerOptions options;
};

void measure(std::size_t vocabulary) {
  std::printf("%s, %zu logits a row; microseconds, median of %d (99th percentile)\n", device_info().name.c_str(),
              vocabulary, kCalls);
  const Way ways[] = {{"greedy", {.temperature = 0, .repetition_penalty = 1}},
                      {"greedy, repetition penalty", {.temperature = 0}},
                      {"top-k 50, top-p 0.95, penalty", {.temperature = 1}},
                      {"top-k 256", {.temperature = 1, .top_k = 256, .top_p = 1, .repetition_penalty = 1}}};
  constexpr std::size_t kMost = DeviceSampler::kMostRows;
  std::mt19937 engine(1);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(kMost * vocabulary);
  for (float& x : logits) x = normal(engine);
  DeviceMemory memory(logits.size() * sizeof(float));
  check(cudaMemcpy(memory.data(), logits.data(), memory.bytes(), cudaMemcpyHostToDevice), "copying logits");
  std::vector<TokenId> history(64);
  for (TokenId& id : history) id = static_cast<TokenId>(engine() % vocabulary);

  DeviceSampler sampler;
  std::printf("%-32s %5s %18s %18s\n", "", "rows", "kernel", "call to tokens");
  struct Rows {
    std::size_t count;
    bool follow;  ///< they are one reply's, as in a verification pass
  };
  for (const Way& way : ways) {
    for (const auto [count, follow] : {Rows{1, false}, {2, true}, {4, true}, {8, true}, {8, false}, {kMost, false}}) {
      std::vector<SampleRequest> requests(count, Sampler(way.options).request());
      std::vector<DeviceSampler::Row> rows;
      for (std::size_t i = 0; i < count; ++i) {
        requests[i].options = &way.options;
        requests[i].vocabulary = vocabulary;
        requests[i].history = history;
        rows.push_back({memory.as<float>() + i * vocabulary, &requests[i], follow && i > 0});
      }
      const Times whole = host_times([&] {
        sampler.enqueue(rows, nullptr);
        sampler.wait();
      });
      Event begin;
      Event end;
      std::vector<double> kernel;
      for (int i = 0; i < kCalls; ++i) {
        begin.record();
        sampler.enqueue(rows, nullptr);
        end.record();
        sampler.wait();
        kernel.push_back(end.since(begin));
      }
      const Times device = of(kernel);
      std::printf("%-32s %5zu %9.1f (%6.1f) %9.1f (%6.1f)%s\n", way.name, count, device.median, device.late,
                  whole.median, whole.late, follow ? "  of one reply" : "");
    }
  }

  float* pinned = nullptr;
  check(cudaHostAlloc(reinterpret_cast<void**>(&pinned), vocabulary * sizeof(float), cudaHostAllocDefault),
        "asking for page-locked memory");
  for (const Way& way : ways) {
    Sampler host(way.options);
    TokenId token = 0;
    const Times whole = host_times([&] {
      check(cudaMemcpy(pinned, memory.data(), vocabulary * sizeof(float), cudaMemcpyDeviceToHost), "copying logits");
      token = host.sample({pinned, vocabulary}, history);
    });
    std::printf("%-32s %5d %18s %9.1f (%6.1f)\n", (std::string("on the host: ") + way.name).c_str(), 1, "",
                whole.median, whole.late);
  }
  (void)cudaFreeHost(pinned);
}

}  // namespace
}  // namespace qwen35::cuda

int main(int argc, char** argv) {
  if (const std::string why = qwen35::cuda::why_unusable(); !why.empty()) {
    std::fprintf(stderr, "cuda_sampling: %s\n", why.c_str());
    return 1;
  }
  try {
    qwen35::cuda::measure(argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 248320);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cuda_sampling: %s\n", error.what());
    return 1;
  }
  return 0;
}
