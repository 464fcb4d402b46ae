# Helpers that every room uses, so that warnings, sanitizers and include paths are said once.

# Compiler options common to every target of the project.
add_library(qwen35_options INTERFACE)
set(cxx $<COMPILE_LANGUAGE:CXX>)
set(cuda $<COMPILE_LANGUAGE:CUDA>)
target_compile_options(
  qwen35_options INTERFACE "$<${cxx}:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion>"
                           "$<${cuda}:-Xcompiler=-Wall,-Wextra,-Wshadow;--expt-relaxed-constexpr;-Wno-deprecated-gpu-targets>")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlapping copies in operator+(const char*, std::string&&) (GCC bug 105651).
  target_compile_options(qwen35_options INTERFACE $<${cxx}:-Wno-restrict>)
endif()
if(QWEN35_WERROR)
  target_compile_options(qwen35_options INTERFACE $<${cxx}:-Werror> "$<${cuda}:-Werror=all-warnings>")
endif()
if(QWEN35_SANITIZE)
  target_compile_options(qwen35_options INTERFACE -fsanitize=${QWEN35_SANITIZE} -fno-omit-frame-pointer
                                                  -fno-sanitize-recover=all)
  target_link_options(qwen35_options INTERFACE -fsanitize=${QWEN35_SANITIZE})
  target_compile_definitions(qwen35_options INTERFACE QWEN35_SANITIZED)
endif()
# Code that no one waits for, tests, commands and the server's front, is mostly templates of libraries: to optimise it
# takes as long again as all the rest, and twice that under sanitizers.
if(QWEN35_SANITIZE)
  set(QWEN35_COLD_OPTIONS -O0)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(qwen35_options INTERFACE -gline-tables-only) # a stack of a report needs no more
  endif()
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(QWEN35_COLD_OPTIONS -O1)
else()
  set(QWEN35_COLD_OPTIONS)
endif()
if(QWEN35_BUILD_FUZZ)
  target_compile_options(qwen35_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# qwen35_room(NAME [COLD] SOURCES file... LINKS library...)
# One room of the house: an object library, so that its tests link it alone and the installed library holds them all.
function(qwen35_room name)
  cmake_parse_arguments(ROOM "COLD" "" "SOURCES;LINKS" ${ARGN})
  add_library(qwen35_${name} STATIC ${ROOM_SOURCES})
  target_include_directories(qwen35_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(qwen35_${name} PRIVATE qwen35_options PUBLIC ${ROOM_LINKS})
  if(ROOM_COLD)
    target_compile_options(qwen35_${name} PRIVATE ${QWEN35_COLD_OPTIONS})
  endif()
  set_property(GLOBAL APPEND PROPERTY QWEN35_ROOMS qwen35_${name})
endfunction()

# qwen35_test(NAME SOURCES file... LINKS library...)
# A GoogleTest executable whose cases CTest lists one by one.
function(qwen35_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${name} PRIVATE QWEN35_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data"
                                             QWEN35_SHARED_DIR="${QWEN35_SHARED_DIR}")
  target_compile_options(${name} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${QWEN35_COLD_OPTIONS}>")
  target_link_libraries(${name} PRIVATE qwen35_options ${TEST_LINKS} GTest::gtest GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 120 PROPERTIES TIMEOUT 600 ENVIRONMENT HF_HUB_OFFLINE=1) # no test reaches for the network
endfunction()
