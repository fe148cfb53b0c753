// The filters of queryDocuments, translated into SQL. Pure: text in, text out.
//
//   {"state":"open","owner":"ann"}                    members at the top of the document, compared
//                                                     as text, as SyncFlow does: 1 finds "1"
//   {"size":{"$gte":3,"$lt":10}}                      operators compare as JSON: 3 finds 3.0, not
//   "3"
//   {"address.city":{"$in":["Bonn","Ulm"]}}           with operators, dots lead into objects and
//                                                     arrays (tags.0); \. is a dot in a name
//   {"$or":[{"done":{"$exists":false}},{"$not":{"state":"open"}}]}
//
//   $eq $ne        any JSON value; $ne is also true where the member is missing
//   $gt $gte $lt $lte   a string (compared by code point), number, or true and false; nothing of
//                  another type is found
//   $in            an array of JSON values; the empty one finds nothing
//   $exists        true or false; a member that is null exists
//   $and $or       arrays of filters, not empty
//   $not           a filter, or operators
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace syncflow::adapter {

// A condition on the column `data`; everything that came from outside is a parameter.
struct FilterSql {
  std::string where;  // "true" for the empty filter
  std::vector<std::optional<std::string>> parameters;
};

// The first parameter is $`first`. Throws std::invalid_argument with one sentence for what is no
// filter, is larger than 64 KiB, nested deeper than 32, or has more than 1000 conditions.
FilterSql TranslateFilter(std::string_view json, size_t first = 1);

// "address.city" as the text of a PostgreSQL array: {"address","city"}. Throws as above.
std::string PathArray(std::string_view dotted);

}  // namespace syncflow::adapter
