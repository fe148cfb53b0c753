#include "adapter/filter.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "adapter/operation.h"
#include "adapter/raw_json.h"
#include "adapter/text_array.h"

namespace syncflow::adapter {
namespace {

constexpr size_t kBytesMax = 64 << 10;
constexpr size_t kDepthMax = 32;
constexpr size_t kParametersMax = 2000;  // at most two a condition
constexpr std::string_view kOperators[] = {"$eq",  "$ne", "$gt",     "$gte", "$lt",
                                           "$lte", "$in", "$exists", "$not"};

[[noreturn]] void Refuse(const std::string& why) {
  throw std::invalid_argument("the filter cannot be used: " + why);
}

char TypeOf(std::string_view value) {
  return value.find_first_of("-0123456789") == 0 ? '0' : value[0];
}

// The text of a string, or of another value as it was written.
std::string TextOf(std::string_view value) {
  return TypeOf(value) == '"' ? nlohmann::json::parse(value).get<std::string>()
                              : std::string(value);
}

std::vector<RawJsonMember> Members(std::string_view object, const std::string& what) {
  if (TypeOf(object) != '{') Refuse(what + " is no object");
  auto members = RawMembers(object);
  std::set<std::string_view> names;
  for (const auto& member : members) {
    if (member.name.find('\0') != member.name.npos) Refuse("a name holds \\u0000");
    if (!names.insert(member.name).second) Refuse("'" + member.name + "' stands there twice");
  }
  return members;
}

std::vector<std::string> SplitPath(std::string_view dotted) {
  std::vector<std::string> path(1);
  for (size_t at = 0; at < dotted.size(); ++at) {
    bool escaped = dotted[at] == '\\' && at + 1 < dotted.size() &&
                   (dotted[at + 1] == '.' || dotted[at + 1] == '\\');
    if (escaped) {
      path.back() += dotted[++at];
    } else if (dotted[at] == '.') {
      path.emplace_back();
    } else {
      path.back() += dotted[at];
    }
  }
  if (path.size() > kDepthMax) Refuse("a path is deeper than " + std::to_string(kDepthMax));
  return path;
}

std::string ToArray(const std::vector<std::string>& path) {
  TextArray array;
  for (const std::string& name : path) array.Add(name);
  return std::move(array).Take();
}

// #> takes these for places in an array as well.
bool IsPlace(const std::string& name) {
  size_t digits = name.starts_with('-') ? 1 : 0;
  return name.size() > digits && name.find_first_not_of("0123456789", digits) == name.npos;
}

class Translator {
 public:
  explicit Translator(size_t first) : first_(first) {}

  std::string Filter(std::string_view object, size_t depth) {
    if (depth > kDepthMax) Refuse("it is nested deeper than " + std::to_string(kDepthMax));
    std::vector<std::string> conditions;
    for (const auto& member : Members(object, "a filter"))
      conditions.push_back(Member(member, depth));
    return Join(conditions, " AND ", "true");
  }

  std::vector<std::optional<std::string>> parameters;

 private:
  std::string Member(const RawJsonMember& member, size_t depth) {
    if (member.name == "$and") return List(member, " AND ", depth);
    if (member.name == "$or") return List(member, " OR ", depth);
    if (member.name == "$not") return "(" + Filter(member.value, depth + 1) + ") IS NOT TRUE";
    if (member.name.starts_with('$')) Refuse("'" + member.name + "' is none of $and, $or, $not");
    return HasOperators(member) ? Operators(member.name, member.value, depth) : SameText(member);
  }

  std::string List(const RawJsonMember& member, const char* word, size_t depth) {
    auto elements = RawElements(member.value);
    if (elements.empty()) Refuse(member.name + " needs an array of at least one filter");
    std::vector<std::string> conditions;
    for (auto element : elements) conditions.push_back(Filter(element, depth + 1));
    return Join(conditions, word, "");
  }

  static bool HasOperators(const RawJsonMember& member) {
    auto inner = RawMembers(member.value);
    return std::any_of(inner.begin(), inner.end(),
                       [](const auto& one) { return one.name.starts_with('$'); });
  }

  // As SyncFlow does it: nothing equals null, and objects and arrays are compared as such.
  std::string SameText(const RawJsonMember& member) {
    char type = TypeOf(member.value);
    if (type == 'n') return "false";
    std::string name = Parameter(member.name);
    if (type == '{' || type == '[')
      return "data -> " + name + "::text = " + JsonParameter(member.value);
    return "data ->> " + name + "::text = " + Parameter(TextOf(member.value)) + "::text";
  }

  std::string Operators(const std::string& name, std::string_view object, size_t depth) {
    if (depth > kDepthMax) Refuse("it is nested deeper than " + std::to_string(kDepthMax));
    auto path = SplitPath(name);
    std::vector<std::string> conditions;
    for (const auto& one : Members(object, "'" + name + "'"))
      conditions.push_back(Operator(name, path, one, depth));
    return Join(conditions, " AND ", "");
  }

  std::string Operator(const std::string& name, const std::vector<std::string>& path,
                       const RawJsonMember& one, size_t depth) {
    if (std::find(std::begin(kOperators), std::end(kOperators), one.name) == std::end(kOperators))
      Refuse("'" + one.name + "' at '" + name +
             "' is none of $eq, $ne, $gt, $gte, $lt, $lte, $in, $exists, $not");
    if (one.name == "$not") {
      if (!HasOperators(one)) Refuse("$not at '" + name + "' needs operators");
      return "(" + Operators(name, one.value, depth + 1) + ") IS NOT TRUE";
    }
    std::string value = "data #> " + Parameter(ToArray(path)) + "::text[]";
    if (one.name == "$eq") return Equal(path, value, one.value);
    if (one.name == "$ne") return "(" + value + ") IS DISTINCT FROM " + JsonParameter(one.value);
    if (one.name == "$in") return In(name, value, one.value);
    if (one.name == "$exists") return Exists(name, value, one.value);
    return Ordered(name, value, one);
  }

  // Containment says the same about members of objects, and the GIN index knows it.
  std::string Equal(const std::vector<std::string>& path, const std::string& value,
                    std::string_view operand) {
    std::string equal = value + " = " + JsonParameter(operand);
    if (std::any_of(path.begin(), path.end(), IsPlace)) return equal;
    std::string whole(operand);
    for (auto name = path.rbegin(); name != path.rend(); ++name) {
      std::string object = "{";
      AppendJsonString(object, *name);
      whole = object + ":" + whole + "}";
    }
    return "(data @> " + JsonParameter(whole) + " AND " + equal + ")";
  }

  std::string In(const std::string& name, const std::string& value, std::string_view operand) {
    if (TypeOf(operand) != '[') Refuse("$in at '" + name + "' needs an array");
    TextArray values;
    for (auto element : RawElements(operand)) values.Add(Json(element));
    return value + " = ANY (" + Parameter(std::move(values).Take()) + "::jsonb[])";
  }

  static std::string Exists(const std::string& name, const std::string& value,
                            std::string_view operand) {
    if (operand == "true") return "(" + value + ") IS NOT NULL";
    if (operand == "false") return "(" + value + ") IS NULL";
    Refuse("$exists at '" + name + "' needs true or false");
  }

  std::string Ordered(const std::string& name, const std::string& value, const RawJsonMember& one) {
    const char* sign = one.name == "$gt"    ? " > "
                       : one.name == "$gte" ? " >= "
                       : one.name == "$lt"  ? " < "
                                            : " <= ";
    switch (TypeOf(one.value)) {
      case '"':
        return "(jsonb_typeof(" + value + ") = 'string' AND (" + value +
               " #>> '{}') COLLATE \"C\"" + sign + Parameter(TextOf(one.value)) + "::text)";
      case '0':
        return "(jsonb_typeof(" + value + ") = 'number' AND " + value + sign +
               JsonParameter(one.value) + ")";
      case 't':
      case 'f':
        return "(jsonb_typeof(" + value + ") = 'boolean' AND " + value + sign +
               JsonParameter(one.value) + ")";
      default:
        Refuse(one.name + " at '" + name + "' needs a string, a number, true or false");
    }
  }

  std::string JsonParameter(std::string_view value) { return Parameter(Json(value)) + "::jsonb"; }

  static std::string Json(std::string_view value) {
    if (HoldsNulEscape(value)) Refuse("a value holds \\u0000, which no document can have");
    return std::string(value);
  }

  std::string Parameter(std::string value) {
    if (value.find('\0') != value.npos) Refuse("a text holds \\u0000, which no document can have");
    if (parameters.size() == kParametersMax) Refuse("it has more than 1000 conditions");
    parameters.emplace_back(std::move(value));
    return "$" + std::to_string(first_ + parameters.size() - 1);
  }

  static std::string Join(const std::vector<std::string>& conditions, const char* word,
                          const char* none) {
    if (conditions.empty()) return none;
    std::string all = "(";
    for (const std::string& condition : conditions)
      all += (all.size() == 1 ? "" : word) + condition;
    return all + ")";
  }

  size_t first_;
};

}  // namespace

FilterSql TranslateFilter(std::string_view json, size_t first) {
  if (json.size() > kBytesMax) Refuse("it is larger than 64 KiB");
  if (!nlohmann::json::accept(json)) Refuse("it is no JSON");
  Translator translator(first);
  std::string where = translator.Filter(json.substr(json.find_first_not_of(" \t\r\n")), 1);
  return {std::move(where), std::move(translator.parameters)};
}

std::string PathArray(std::string_view dotted) {
  if (dotted.find('\0') != dotted.npos) Refuse("a path holds a NUL character");
  return ToArray(SplitPath(dotted));
}

}  // namespace syncflow::adapter
