#include "sidecar/gap.h"

#include <string>

#include "adapter/operation.h"

namespace syncflow {

void AppendGap(journal::Journal& journal, journal::Position at, std::string_view code,
               std::string_view reason) {
  journal::Epoch epoch = *journal.epoch();
  std::string cursor = journal::Cursor{epoch, at}.ToString();
  std::string line = R"({"type":"gap","cursor":")" + cursor + R"(","code":")";
  line.append(code) += R"(","after":")";
  journal::Cursor{epoch, journal.appended()}.AppendTo(line);
  line += R"(","resume":")" + cursor + R"(","reason":)";
  adapter::AppendJsonString(line, reason);
  journal.Append(at, line + "}\n");
}

}  // namespace syncflow
