# Cross build for 64-bit ARM Linux with Debian's cross compiler; what it builds runs under qemu-user, tests included.
# Libraries come from a folder of unpacked arm64 packages (tools/arm-sysroot.sh), libc and libstdc++ from the compiler's.
set(QWEN35_ARM_SYSROOT "${CMAKE_CURRENT_LIST_DIR}/../../build-arm/sysroot" CACHE PATH "Unpacked arm64 packages")
get_filename_component(QWEN35_ARM_SYSROOT "${QWEN35_ARM_SYSROOT}" ABSOLUTE)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES QWEN35_ARM_SYSROOT)
if(NOT EXISTS "${QWEN35_ARM_SYSROOT}/usr/lib/aarch64-linux-gnu")
  message(FATAL_ERROR "${QWEN35_ARM_SYSROOT} holds no arm64 packages; run tools/arm-sysroot.sh ${QWEN35_ARM_SYSROOT}")
endif()

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(CMAKE_FIND_ROOT_PATH "${QWEN35_ARM_SYSROOT}" /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${QWEN35_ARM_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR} "${QWEN35_ARM_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${QWEN35_ARM_SYSROOT}/usr/share/pkgconfig")

# Libraries that the linked ones need themselves (libedit: libbsd, libtinfo) lie in two folders of the packages.
set(arm_libraries "${QWEN35_ARM_SYSROOT}/usr/lib/aarch64-linux-gnu:${QWEN35_ARM_SYSROOT}/lib/aarch64-linux-gnu")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath-link,${arm_libraries}")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-Wl,-rpath-link,${arm_libraries}")
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu -E "LD_LIBRARY_PATH=${arm_libraries}")
