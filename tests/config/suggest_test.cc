#include "config/suggest.h"

#include <gtest/gtest.h>

namespace syncflow::config {
namespace {

TEST(Suggestion, IsTheNearestWord) {
  EXPECT_EQ(SuggestKey("journal", "retain_sise"), " (did you mean 'retain_size'?)");
  EXPECT_EQ(SuggestKey("journal", "retention_size"), " (did you mean 'retain_size'?)");
  EXPECT_EQ(SuggestKey("postgres", "urll"), " (did you mean 'url'?)");
  EXPECT_EQ(SuggestSection("feeed"), " (did you mean 'feed'?)");
  EXPECT_EQ(SuggestVariable("SYNCFLOW_POSTGRES_URI"), " (did you mean 'SYNCFLOW_POSTGRES_URL'?)");
}

TEST(Suggestion, IsTheSectionOfAMisplacedKey) {
  EXPECT_EQ(SuggestSection("segment_size"), " (did you mean 'journal.segment_size'?)");
  EXPECT_EQ(SuggestKey("journal", "heartbeat"), " (did you mean 'feed.heartbeat'?)");
}

TEST(Suggestion, IsLeftOutWhenNothingIsNear) {
  EXPECT_EQ(SuggestSection("kubernetes"), "");
  EXPECT_EQ(SuggestKey("feed", "xy"), "");
  EXPECT_EQ(SuggestKey("postgres", ""), "");
  EXPECT_EQ(SuggestSection(std::string(100'000, 'f')), "");
}

}  // namespace
}  // namespace syncflow::config
