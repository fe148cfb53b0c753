# cmake --install: the program, and the adapter as a library for find_package(syncflow) and syncflow::adapter.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/syncflow)

install(TARGETS syncflow-sidecar)
install(TARGETS adapter EXPORT syncflow ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/syncflow
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/syncflow)
install(DIRECTORY adapter DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/syncflow FILES_MATCHING PATTERN "*.h")
install(EXPORT syncflow NAMESPACE syncflow:: DESTINATION ${package_dir} FILE syncflow-targets.cmake)
install(FILES LICENSE CHANGELOG.md README.md TYPE DOC)

write_basic_package_version_file(syncflow-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/syncflow-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/syncflow-config-version.cmake
        DESTINATION ${package_dir})
