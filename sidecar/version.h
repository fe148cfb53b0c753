#pragma once

namespace syncflow {

// SYNCFLOW_VERSION comes from the project() line of the top CMakeLists.txt.
inline constexpr const char* kVersion = SYNCFLOW_VERSION;

}  // namespace syncflow
