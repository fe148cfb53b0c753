// The token's file and its comparison.
#include "sidecar/http/token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace syncflow::http {
namespace {

using ::testing::HasSubstr;

constexpr const char* kToken = "0123456789abcdef";

class Token : public ::testing::Test {
 protected:
  ~Token() override { std::remove(path_.c_str()); }
  void Write(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
  std::string WhyRefused() {
    try {
      ReadToken(path_);
    } catch (const TokenError& wrong) {
      return wrong.what();
    }
    return "";
  }

  std::string path_ = ::testing::TempDir() + "syncflow_token_test";
};

TEST_F(Token, LineEndIsNoPartOfIt) {
  for (const char* end : {"", "\n", "\r\n"}) {
    Write(std::string(kToken) + end);
    EXPECT_EQ(ReadToken(path_), kToken);
  }
}

TEST_F(Token, WhatIsNoneIsRefusedWithoutShowingIt) {
  EXPECT_THAT(WhyRefused(), HasSubstr("http.token_file cannot be read"));
  for (const std::string& text :
       {std::string(), std::string("\n"), std::string("short"), std::string("0123456789abcde\n"),
        std::string("0123456789abcdef 0"), std::string("0123456789abcdef\n0123456789abcdef"),
        std::string(17, '\0'), std::string(4097, 'x')}) {
    Write(text);
    EXPECT_THAT(WhyRefused(), HasSubstr("at least 16 characters"));
    EXPECT_THAT(WhyRefused(), ::testing::Not(HasSubstr("0123")));
  }
}

TEST_F(Token, OnlyTheWholeTokenAuthorizes) {
  EXPECT_TRUE(Authorizes("Bearer 0123456789abcdef", kToken));
  for (const char* wrong :
       {"", "Bearer", "Bearer ", "0123456789abcdef", "Basic 0123456789abcdef",
        "bearer 0123456789abcdef", "Bearer 0123456789abcde", "Bearer 0123456789abcdeF",
        "Bearer  0123456789abcdef", "Bearer 0123456789abcdef "}) {
    EXPECT_FALSE(Authorizes(wrong, kToken)) << wrong;
  }
}

}  // namespace
}  // namespace syncflow::http
