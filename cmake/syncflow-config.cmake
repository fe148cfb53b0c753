# find_package(syncflow): the targets syncflow::adapter, #include "adapter/postgres_sync_adapter.h", and syncflow::client,
# #include "sidecar/client/subscription.h"
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(nlohmann_json 3.11)
find_dependency(OpenSSL 3)
find_dependency(PkgConfig)
pkg_check_modules(libpq REQUIRED QUIET IMPORTED_TARGET libpq)
include(${CMAKE_CURRENT_LIST_DIR}/syncflow-targets.cmake)
