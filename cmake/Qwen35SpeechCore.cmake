# -DQWEN35_WITH_SPEECH_CORE=DIR: a checkout of github.com/soniqo/speech-core. Then the adapter's tests use its headers
# and the example drives its pipeline; without it the tests use a double of its interface.
set(QWEN35_WITH_SPEECH_CORE "" CACHE PATH "Checkout of speech-core, to test the adapter against; optional")

if(QWEN35_WITH_SPEECH_CORE)
  if(NOT EXISTS ${QWEN35_WITH_SPEECH_CORE}/include/speech_core/interfaces.h)
    message(FATAL_ERROR "QWEN35_WITH_SPEECH_CORE=${QWEN35_WITH_SPEECH_CORE} holds no include/speech_core/interfaces.h; "
                        "give the folder of a checkout of github.com/soniqo/speech-core")
  endif()
  set(SPEECH_CORE_BUILD_TESTS OFF CACHE BOOL "" FORCE)
  add_subdirectory(${QWEN35_WITH_SPEECH_CORE} ${PROJECT_BINARY_DIR}/speech-core EXCLUDE_FROM_ALL SYSTEM)
  add_library(speech_core_headers INTERFACE)
  target_include_directories(speech_core_headers SYSTEM INTERFACE ${QWEN35_WITH_SPEECH_CORE}/include)
endif()
