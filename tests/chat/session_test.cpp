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
  Session session_{*backend_};
  std::atomic<bool> cancelled_{false};
};

TEST_F(SessionTest, FeedsLongInputsInSlices) {
  const auto ids = tokens(2 * Session::kSlice + 10);
  EXPECT_TRUE(session_.feed(ids, cancelled_));
  EXPECT_THAT(stage_->passes, testing::ElementsAre(Session::kSlice, Session::kSlice, 10));
  EXPECT_EQ(stage_->history, ids);
  EXPECT_EQ(std::vector<TokenId>(session_.timeline().begin(), session_.timeline().end()), ids);
  EXPECT_EQ(session_.logits().size(), stage_->vocab_size);
}

TEST_F(SessionTest, AnEmptyFeedComputesNothing) {
  EXPECT_TRUE(session_.feed({}, cancelled_));
  EXPECT_TRUE(stage_->passes.empty());
}

TEST_F(SessionTest, ACancelStopsBetweenSlicesAndTheTimelineIsWhatWasFed) {
  const auto ids = tokens(1000);
  int passes = 0;
  stage_->on_forward = [&] { cancelled_ = ++passes == 2; };
  EXPECT_FALSE(session_.feed(ids, cancelled_));
  EXPECT_EQ(session_.position(), 2 * Session::kSlice);
  EXPECT_EQ(stage_->history.size(), 2 * Session::kSlice);
  cancelled_ = false;
  stage_->on_forward = [] {};
  EXPECT_EQ(session_.align(ids), 2 * Session::kSlice);  // the work is not lost
  EXPECT_TRUE(session_.feed(std::span(ids).subspan(session_.position()), cancelled_));
  EXPECT_EQ(stage_->history, ids);
}

TEST_F(SessionTest, AlignsKeepsAPrefixAndResetsOtherwise) {
  const auto ids = tokens(20);
  session_.feed(std::span(ids).first(12), cancelled_);
  EXPECT_EQ(session_.align(ids), 12U);
  EXPECT_EQ(stage_->resets, 0U);

  auto other = ids;
  other[11] = 199;
  EXPECT_EQ(session_.align(other), 0U);
  EXPECT_EQ(stage_->resets, 1U);
  EXPECT_EQ(session_.position(), 0U);

  // The same tokens again: their logits are gone, so at least one must be fed, and S has no way back by one.
  session_.feed(ids, cancelled_);
  EXPECT_EQ(session_.align(ids), 0U);
  session_.feed(ids, cancelled_);
  EXPECT_EQ(session_.align(std::span(ids).first(5)), 0U);
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
