# The CUDA backend: sets QWEN35_WITH_CUDA to whether it is built, and says why not when it was asked for.
set(QWEN35_CUDA "AUTO" CACHE STRING "Build the CUDA backend: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE QWEN35_CUDA PROPERTY STRINGS AUTO ON OFF)
# Machine code for each, and intermediate code (PTX) of 80 and 120 that drivers compile for what comes between and after.
# 90a has the instructions of Hopper alone (wgmma).
set(QWEN35_CUDA_ARCHITECTURES "80;86-real;89-real;90a-real;120" CACHE STRING "GPU architectures of the CUDA backend")

set(QWEN35_WITH_CUDA OFF)
# Sanitizers and emulators meet no GPU: there only an explicit ON builds it.
if(QWEN35_CUDA STREQUAL "ON" OR (QWEN35_CUDA AND NOT CMAKE_CROSSCOMPILING AND NOT QWEN35_SANITIZE))
  include(CheckLanguage)
  find_program(QWEN35_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(QWEN35_NVCC AND NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${QWEN35_NVCC})
  endif()
  if(NOT CMAKE_CUDA_HOST_COMPILER)
    set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
  endif()
  set(CMAKE_CUDA_ARCHITECTURES ${QWEN35_CUDA_ARCHITECTURES})
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    find_package(CUDAToolkit QUIET)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8 AND TARGET CUDA::cudart_static)
      set(QWEN35_WITH_CUDA ON)
      set(CMAKE_CUDA_STANDARD 20)
      set(CMAKE_CUDA_STANDARD_REQUIRED ON)
      set(CMAKE_CUDA_EXTENSIONS OFF)
      if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION) # CMake 3.25 does not know that nvcc 13 takes it
        set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
      endif()
    endif()
  endif()
  if(QWEN35_CUDA STREQUAL "ON" AND NOT QWEN35_WITH_CUDA)
    message(FATAL_ERROR "QWEN35_CUDA=ON needs nvcc 12.8 or later with the static runtime; found "
                        "\"${CMAKE_CUDA_COMPILER}\" ${CMAKE_CUDA_COMPILER_VERSION}. Install the CUDA toolkit, or set CUDACXX")
  endif()
endif()
message(STATUS "CUDA backend: ${QWEN35_WITH_CUDA}")
