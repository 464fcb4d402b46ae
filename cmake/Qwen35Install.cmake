# `cmake --install`: the command, the library with its headers and package config, the bundled model.
include(CMakePackageConfigHelpers)

install(TARGETS qwen35 EXPORT qwen35Targets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/qwen35 DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/qwen35/models)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/share/voice DESTINATION ${CMAKE_INSTALL_DATADIR}/qwen35)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/qwen35)
install(EXPORT qwen35Targets NAMESPACE qwen35:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/qwen35Config.cmake.in ${PROJECT_BINARY_DIR}/qwen35Config.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/qwen35ConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/qwen35Config.cmake ${PROJECT_BINARY_DIR}/qwen35ConfigVersion.cmake DESTINATION ${package_dir})
