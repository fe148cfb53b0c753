#include "config/load.h"

#include <unistd.h>
#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "config/document.h"
#include "config/interpret.h"
#include "config/text.h"

namespace syncflow::config {
namespace {

constexpr size_t kFileMax = 1 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

using Kind = Node::Kind;

// Thrown out of yaml-cpp: what comes after this place is of no use.
struct Stop {
  Place place;
  std::string sentence;
};

// yaml-cpp counts from 0.
Place PlaceOf(const YAML::Mark& mark) {
  return {mark.line + 1, mark.column + 1};
}

// Builds the tree from events, not from YAML::Node, which drops a key's second value, follows
// aliases and knows less about places.
class Builder : public YAML::EventHandler {
 public:
  Builder(std::string_view text, Document& document) : text_(text), document_(document) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) throw Stop{PlaceOf(mark), "a second document begins here"};
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(Kind::kEmpty, mark, "?", anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Add(Kind::kUnread, mark, "?", YAML::NullAnchor);
    Complain(mark, "aliases (*) are not supported");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckQuotes(mark);
    Add(Kind::kScalar, mark, tag, anchor).text = value;
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open_.push_back({&Add(Kind::kList, mark, tag, anchor)});
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open_.push_back({&Add(Kind::kMap, mark, tag, anchor)});
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  struct Open {
    Node* node;
    bool value_is_next = false;
  };

  Node& Add(Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) Complain(mark, "anchors (&) are not supported");
    if (tag != "?" && tag != "!") Complain(mark, "tags (!) are not supported");
    Node& node = Slot();
    node.kind = kind;
    node.place = PlaceOf(mark);
    return node;
  }

  // Where the next node belongs: a map takes key and value in turn. Nodes in open_ stay where they
  // are, as a parent grows only when its last child is closed.
  Node& Slot() {
    if (open_.empty()) return document_.root;
    Open& parent = open_.back();
    bool value = parent.value_is_next;
    if (parent.node->kind == Kind::kMap) parent.value_is_next = !value;
    auto& entries = parent.node->entries;
    return value ? entries.back().value : entries.emplace_back().key;
  }

  // yaml-cpp takes the end of the file for the end of a string.
  void CheckQuotes(const YAML::Mark& mark) {
    auto at = static_cast<size_t>(mark.pos);
    bool quoted = at < text_.size() && (text_[at] == '"' || text_[at] == '\'');
    if (quoted && !IsClosed(text_, at))
      throw Stop{PlaceOf(mark), "this quotation mark is never closed"};
  }

  void Complain(const YAML::Mark& mark, std::string sentence) {
    document_.complaints.push_back({PlaceOf(mark), std::move(sentence)});
  }

  std::string_view text_;
  Document& document_;
  int documents_ = 0;
  std::vector<Open> open_;
};

bool IsIndentedWithTab(std::string_view text, int line) {
  for (; line > 1; --line) text.remove_prefix(std::min(text.find('\n') + 1, text.size()));
  return text.substr(0, text.find_first_not_of(" \t")).find('\t') != text.npos;
}

std::string SentenceOf(const YAML::Exception& error, std::string_view text) {
  if (IsIndentedWithTab(text, PlaceOf(error.mark).line))
    return "this is not YAML: a tab cannot indent a line; use spaces";
  if (error.msg != YAML::ErrorMsg::MAP_VALUE) return "this is not YAML: " + error.msg;
  return "this is not YAML: no ':' can stand here; check the indentation, and put quotes around "
         "texts that hold ': '";
}

void Parse(std::string_view text, Document& document) {
  std::istringstream in{std::string(text)};
  Builder builder(text, document);
  try {
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) continue;
  } catch (const YAML::DeepRecursion& error) {
    throw Stop{PlaceOf(error.mark), "this is nested too deeply: settings have few levels"};
  } catch (const YAML::Exception& error) {
    throw Stop{PlaceOf(error.mark), SentenceOf(error, text)};
  }
}

Document Read(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  Document document;
  try {
    if (text.size() > kFileMax) throw Stop{{}, "the file is larger than 1 MiB"};
    if (auto bad = FindBadByte(text)) throw Stop{bad->place, bad->sentence};
    Parse(text, document);
  } catch (const Stop& stop) {
    document.whole = false;
    document.complaints.push_back({Clamp(text, stop.place), stop.sentence});
  }
  return document;
}

Loaded Unreadable(const std::string& path, const std::string& reason) {
  Loaded out;
  out.violations.push_back(path + ": " + reason);
  return out;
}

std::string ReadStart(std::istream& in, size_t bytes_max) {
  std::string text(bytes_max, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

}  // namespace

Environment ProcessEnvironment() {
  Environment out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    std::string text = *entry;
    size_t equals = text.find('=');
    if (equals != std::string::npos) out[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return out;
}

Loaded Load(const std::string& path, const Environment& environment) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return Unreadable(path, "this is a folder; name the file in it");
  std::ifstream in(path, std::ios::binary);
  if (!in) return Unreadable(path, "cannot be read: " + std::generic_category().message(errno));
  return LoadText(ReadStart(in, kFileMax + 8), path, environment);
}

Loaded LoadText(const std::string& text, const std::string& path, const Environment& environment) {
  return Interpret(Read(text), path, environment);
}

}  // namespace syncflow::config
