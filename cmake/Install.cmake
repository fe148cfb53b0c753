# cmake --install: the program, and for find_package(syncflow) two libraries: syncflow::adapter and syncflow::client.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/syncflow)

install(TARGETS syncflow-sidecar)
install(TARGETS adapter client EXPORT syncflow ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/syncflow
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/syncflow)
install(DIRECTORY adapter DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/syncflow FILES_MATCHING PATTERN "*.h")
install(FILES sidecar/client/event.h sidecar/client/subscription.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/syncflow/sidecar/client)
install(EXPORT syncflow NAMESPACE syncflow:: DESTINATION ${package_dir} FILE syncflow-targets.cmake)
install(FILES LICENSE CHANGELOG.md README.md TYPE DOC)

write_basic_package_version_file(syncflow-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/syncflow-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/syncflow-config-version.cmake
        DESTINATION ${package_dir})
