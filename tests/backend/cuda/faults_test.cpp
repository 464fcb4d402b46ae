// A full GPU and a lost one are errors, and the process lives on.

#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "backend/reference_data.h"
#include "device_helpers.h"
#include "sampling/sampler.h"

namespace qwen35::cuda {
namespace {

class CudaFaults : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    backend = make_cuda_backend(load_weights(tiny_model()));
  }
  void TearDown() override {
    faults::refuse_allocation(0);
    faults::lose_device(0);
  }
  static std::vector<TokenId> ids(std::size_t n) {
    std::vector<TokenId> tokens(n);
    for (std::size_t i = 0; i < n; ++i) tokens[i] = static_cast<TokenId>((7 * i + 3) % 512);
    return tokens;
  }
  std::vector<float> feed(State& state, std::size_t n) const {
    std::vector<float> logits(512);
    EXPECT_TRUE(backend->forward(state, ids(n), LogitRows::last, logits));
    return logits;
  }
  template <typename Call>
  static void expect_error(ErrorCode code, const Call& call) {
    try {
      call();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
    }
  }

  std::unique_ptr<Backend> backend;
};

TEST_F(CudaFaults, AnAllocationThatCannotBe) {
  expect_error(ErrorCode::out_of_memory, [] { const DeviceMemory memory(std::size_t{1} << 46); });
  const auto state = backend->make_state();
  feed(*state, 5);
}

// Whichever allocation of a pass fails: the state stands where it stood, and the same pass gives the same afterwards.
TEST_F(CudaFaults, AFullGpuLeavesTheStateAsItWas) {
  const auto whole = backend->make_state();
  feed(*whole, 100);
  const auto snapshot = backend->snapshot(*whole);
  for (const std::size_t tokens : {std::size_t{3}, std::size_t{200}}) {
    backend->restore(*whole, *snapshot);
    const auto want = feed(*whole, tokens);
    int refused = 0;
    for (std::uint64_t n = 1; n < 20; ++n) {
      const auto fresh = make_cuda_backend(load_weights(tiny_model()));  // its buffers and blocks are not there yet
      const auto state = fresh->make_state();
      fresh->restore(*state, *snapshot);
      std::vector<float> logits(512);
      faults::refuse_allocation(n);
      try {
        fresh->forward(*state, ids(tokens), LogitRows::last, logits);
        faults::refuse_allocation(0);
        break;  // needs fewer than n
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::out_of_memory) << error.what();
        ++refused;
      }
      faults::refuse_allocation(0);
      EXPECT_EQ(state->position(), 100U) << "allocation " << n;
      if (n > 1) fresh->restore(*state, *snapshot);  // a pass of many tokens may have begun
      ASSERT_TRUE(fresh->forward(*state, ids(tokens), LogitRows::last, logits));
      EXPECT_EQ(logits, want) << "allocation " << n << ", " << tokens << " tokens";
    }
    EXPECT_GT(refused, 2);
  }
}

// As above, with the token sampled: the request stays untouched, and what the choice needs is asked for before a state
// is written.
TEST_F(CudaFaults, AFullGpuLeavesWhatIsToBeSampledAsItWas) {
  const auto whole = backend->make_state();
  feed(*whole, 100);
  const auto snapshot = backend->snapshot(*whole);
  const SamplerOptions options;
  const RandomState random{1, 2, 3, 4};
  const std::vector<TokenId> history = ids(300);  // more than goes along with the launch
  const auto asked = [&] {
    return SampleRequest{
        .options = &options, .vocabulary = 512, .barred = history, .history = history, .random = random};
  };
  for (const std::size_t tokens : {std::size_t{3}, std::size_t{200}}) {
    const std::vector<TokenId> fed = ids(tokens);
    backend->restore(*whole, *snapshot);
    SampleRequest want = asked();
    auto logits = feed(*whole, tokens);
    Sampler::answer(want, logits);
    int refused = 0;
    for (std::uint64_t n = 1; n < 20; ++n) {
      const auto fresh = make_cuda_backend(load_weights(tiny_model()));
      const auto state = fresh->make_state();
      fresh->restore(*state, *snapshot);
      SampleRequest request = asked();
      const Feed one{state.get(), fed, LogitRows::last, {}, &request};
      faults::refuse_allocation(n);
      try {
        fresh->forward_batch({&one, 1});
        faults::refuse_allocation(0);
        EXPECT_EQ(request.token, want.token);
        break;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::out_of_memory) << error.what();
        ++refused;
      }
      faults::refuse_allocation(0);
      EXPECT_EQ(state->position(), 100U) << "allocation " << n;
      EXPECT_EQ(request.token, -1) << "allocation " << n;
      EXPECT_EQ(request.random, random) << "allocation " << n;
      if (tokens > 8) fresh->restore(*state, *snapshot);  // a pass of many tokens may have begun
      ASSERT_TRUE(fresh->forward_batch({&one, 1}));
      EXPECT_EQ(request.token, want.token) << "allocation " << n << ", " << tokens << " tokens";
      EXPECT_EQ(request.random, want.random) << "allocation " << n << ", " << tokens << " tokens";
    }
    EXPECT_GT(refused, 3);
  }
}

TEST_F(CudaFaults, AModelThatDoesNotFit) {
  for (std::uint64_t n = 1; n <= 4; ++n) {
    faults::refuse_allocation(n);
    expect_error(ErrorCode::out_of_memory, [] { make_cuda_backend(load_weights(tiny_model())); });
  }
  faults::refuse_allocation(0);
  const auto state = backend->make_state();
  feed(*state, 5);
}

TEST_F(CudaFaults, ALostDeviceIsAnErrorUntilABackendIsMadeAnew) {
  auto state = backend->make_state();
  const auto want = feed(*state, 9);
  auto snapshot = backend->snapshot(*state);
  faults::lose_device(1);
  std::vector<float> logits(512);
  for (int i = 0; i < 3; ++i) {
    expect_error(ErrorCode::device, [&] { backend->forward(*state, ids(1), LogitRows::last, logits); });
    expect_error(ErrorCode::device, [&] { backend->forward(*state, ids(100), LogitRows::last, logits); });
    expect_error(ErrorCode::device, [&] { backend->verify(*state, ids(1), logits); });
    const SamplerOptions options;
    SampleRequest request{.options = &options, .vocabulary = 512, .random = {1, 2, 3, 4}};
    const std::vector<TokenId> one = ids(1);
    const Feed sampled{state.get(), one, LogitRows::last, {}, &request};
    expect_error(ErrorCode::device, [&] { backend->forward_batch({&sampled, 1}); });
    EXPECT_EQ(request.token, -1);
    expect_error(ErrorCode::device, [&] { backend->write_snapshot(*snapshot, [](std::span<const std::byte>) {}); });
  }
  const std::uint64_t life = device_life();
  auto next = make_cuda_backend(load_weights(tiny_model()));
  EXPECT_GT(device_life(), life);
  expect_error(ErrorCode::device, [&] { backend->forward(*state, ids(1), LogitRows::last, logits); });
  const auto fresh = next->make_state();
  expect_error(ErrorCode::device, [&] { next->restore(*fresh, *snapshot); });
  // What is of before may be destroyed at any time.
  state.reset();
  snapshot.reset();
  backend = std::move(next);
  state = backend->make_state();
  EXPECT_EQ(feed(*state, 9), want);
}

}  // namespace
}  // namespace qwen35::cuda
