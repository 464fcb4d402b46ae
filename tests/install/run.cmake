# Installs the build into a folder of its own, builds the outside program against it and runs it.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN} failed (${result}):\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK_DIR}/prefix ${WORK_DIR}/outside)
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${WORK_DIR}/prefix)
run(${CMAKE_COMMAND} -S ${SOURCE_DIR}/program -B ${WORK_DIR}/outside -DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix
    -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CXX_FLAGS=${FLAGS})
run(${CMAKE_COMMAND} --build ${WORK_DIR}/outside)
# The installed model must be the one that is found, not the source tree's.
run(${CMAKE_COMMAND} -E env QWEN35_MODELS=${WORK_DIR}/prefix/share/qwen35/models ${WORK_DIR}/outside/outside)
if(NOT output MATCHES "Alex")
  message(FATAL_ERROR "the outside program did not remember the name: ${output}")
endif()
run(${WORK_DIR}/prefix/bin/qwen35 --version)
