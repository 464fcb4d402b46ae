#include "chat/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <qwen35/error.h>

#include <memory>
#include <numeric>

#include "chat/fakes.h"

namespace qwen35 {
namespace {

using testing_doubles::make_fake_backend;
using testing_doubles::Stage;

class SessionTest : public testing::Test {
 protected:
  static std::vector<TokenId> tokens(std::size_t count, TokenId first = 0) {
    std::vector<TokenId> ids(count);
    for (std::size_t i = 0; i < count; ++i) ids[i] = static_cast<TokenId>((static_cast<std::size_t>(first) + i) % 200);
    return ids;
  }

  std::shared_ptr<Stage> stage_ = std::make_shared<Stage>();
  std::unique_ptr<Backend> backend_ = make_fake_backend(stage_);
  Batcher batcher_{*backend_};
  Checkpoints checkpoints_{1 << 20};
  Session session_{*backend_, batcher_, checkpoints_};
  std::atomic<bool> flag_{false};
  Cancellation cancelled_{flag_};
};

TEST_F(SessionTest, FeedsLongInputsInSlices) {
  const auto ids = tokens(2 * Backend::kUsualPass + 10);
  EXPECT_TRUE(session_.feed(ids, cancelled_));
  EXPECT_THAT(stage_->passes, testing::ElementsAre(Backend::kUsualPass, Backend::kUsualPass, 10));
  EXPECT_EQ(stage_->history, ids);
  EXPECT_EQ(std::vector<TokenId>(session_.timeline().begin(), session_.timeline().end()), ids);
  EXPECT_EQ(session_.logits().size(), stage_->vocab_size);
}

TEST_F(SessionTest, AnEmptyFeedComputesNothing) {
  EXPECT_TRUE(session_.feed({}, cancelled_));
  EXPECT_TRUE(stage_->passes.empty());
}

TEST_F(SessionTest, ACancelledPassIsNotBuiltUponButTheLastCheckpointIs) {
  const auto ids = tokens(1000);
  int passes = 0;
  stage_->on_forward = [&] { flag_ = ++passes == 3; };
  const std::size_t marks[] = {100, 300};
  EXPECT_FALSE(session_.feed(ids, cancelled_, marks));
  EXPECT_THAT(stage_->passes, testing::ElementsAre(100, 200));
  flag_ = false;
  stage_->on_forward = [] {};
  EXPECT_EQ(session_.align(ids), 300U);
  EXPECT_EQ(stage_->resets, 0U);
  EXPECT_TRUE(session_.feed(std::span(ids).subspan(session_.position()), cancelled_));
  EXPECT_EQ(stage_->history, ids);
}

TEST_F(SessionTest, ACancelBeforeAPassLosesNothing) {
  const auto ids = tokens(100);
  EXPECT_TRUE(session_.feed(std::span(ids).first(60), cancelled_));
  flag_ = true;
  EXPECT_FALSE(session_.feed(std::span(ids).subspan(60), cancelled_));
  flag_ = false;
  EXPECT_EQ(session_.align(ids), 60U);
}

TEST_F(SessionTest, AlignKeepsAPrefixAndGoesBackToTheLongestCheckpoint) {
  const auto ids = tokens(40);
  const std::size_t marks[] = {5, 10, 20};
  session_.feed(std::span(ids).first(30), cancelled_, marks);
  EXPECT_EQ(session_.align(ids), 30U);
  EXPECT_EQ(stage_->restores, 0U);

  auto other = ids;
  other[15] = 199;
  EXPECT_EQ(session_.align(other), 10U);
  EXPECT_EQ(stage_->history, std::vector<TokenId>(ids.begin(), ids.begin() + 10));
  session_.feed(std::span(other).subspan(10), cancelled_);
  EXPECT_EQ(stage_->history, other);

  // Back on the first branch, where a later checkpoint is known.
  EXPECT_EQ(session_.align(ids), 20U);
  EXPECT_EQ(session_.align(std::span(ids).first(3)), 0U);
  EXPECT_EQ(stage_->resets, 1U);
}

TEST_F(SessionTest, AllTokensAreKeptOnlyWithTheLogitsOfTheLast) {
  const auto ids = tokens(12);
  session_.feed(ids, cancelled_);
  EXPECT_EQ(session_.align(ids), 12U);  // logits() are still those of the last one
  const std::vector<float> logits(session_.logits().begin(), session_.logits().end());
  session_.checkpoint(std::make_shared<const std::vector<float>>(logits));
  session_.spoil_logits();
  session_.logits()[0] = 1234;
  EXPECT_EQ(session_.align(ids), 12U);  // from the checkpoint
  EXPECT_THAT(session_.logits(), testing::ElementsAreArray(logits));

  session_.feed(tokens(3), cancelled_);
  session_.checkpoint();
  session_.spoil_logits();
  std::vector<TokenId> longer = ids;
  for (const TokenId id : tokens(3)) longer.push_back(id);
  EXPECT_EQ(session_.align(longer), 12U) << "a checkpoint without logits cannot stand for its last token";
}

TEST_F(SessionTest, VerifiedTokensAreKeptAsFarAsTheyWereRight) {
  stage_->max_verify = 4;
  const auto ids = tokens(10);
  session_.feed(ids, cancelled_);
  ASSERT_TRUE(session_.verify(tokens(4, 50), cancelled_));
  EXPECT_EQ(session_.logits(3).size(), stage_->vocab_size);
  session_.keep(2);
  EXPECT_EQ(session_.position(), 12U);
  EXPECT_EQ(stage_->history.size(), 12U);
  // A reply that is dropped between the two leaves a state that is not built upon.
  ASSERT_TRUE(session_.verify(tokens(4, 90), cancelled_));
  EXPECT_EQ(session_.align(tokens(30)), 0U);
  EXPECT_EQ(stage_->resets, 1U);
}

TEST_F(SessionTest, TwoSessionsShareWhatEitherComputed) {
  Session other(*backend_, batcher_, checkpoints_);
  const auto ids = tokens(50);
  const std::size_t marks[] = {40};
  session_.feed(ids, cancelled_, marks);
  EXPECT_EQ(other.align(ids), 40U);
}

TEST_F(SessionTest, AFailedPassIsNotBuiltUpon) {
  const auto ids = tokens(600);
  int passes = 0;
  stage_->on_forward = [&] {
    if (++passes == 2) throw Error(ErrorCode::internal, "broken pass");
  };
  EXPECT_THROW(session_.feed(ids, cancelled_), Error);
  stage_->on_forward = [] {};
  EXPECT_EQ(session_.align(ids), 0U);
  EXPECT_EQ(stage_->resets, 1U);
  EXPECT_TRUE(session_.feed(ids, cancelled_));
  EXPECT_EQ(stage_->history, ids);
}

TEST_F(SessionTest, SaysWhatItHolds) {
  const std::size_t before = session_.memory_bytes();
  EXPECT_GE(before, stage_->vocab_size * sizeof(float));
  session_.feed(tokens(100), cancelled_);
  EXPECT_GE(session_.memory_bytes(), before + 100 * sizeof(TokenId));
}

}  // namespace
}  // namespace qwen35
