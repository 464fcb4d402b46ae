# Downloads from the hub need libcurl and OpenSSL (hashes). Without them the library still finds models in the cache.
# QWEN35_HUB: AUTO (whether they are there), ON or OFF; sets QWEN35_DOWNLOADS to what it came to.
set(QWEN35_HUB "AUTO" CACHE STRING "Download models from the Hugging Face hub (libcurl, OpenSSL): AUTO, ON or OFF")
set_property(CACHE QWEN35_HUB PROPERTY STRINGS AUTO ON OFF)

set(QWEN35_DOWNLOADS OFF)
if(QWEN35_HUB)
  find_package(CURL 7.85 QUIET)
  find_package(OpenSSL QUIET)
  if(CURL_FOUND AND OPENSSL_FOUND)
    set(QWEN35_DOWNLOADS ON)
  elseif(NOT QWEN35_HUB STREQUAL "AUTO")
    message(FATAL_ERROR "QWEN35_HUB=ON needs libcurl (7.85 or later) and OpenSSL: the Debian packages libcurl4-openssl-dev and libssl-dev")
  else()
    message(STATUS "Downloads from the hub are left out; they need libcurl 7.85 and OpenSSL (libcurl4-openssl-dev, libssl-dev)")
  endif()
else()
  message(STATUS "Downloads from the hub are left out: QWEN35_HUB=${QWEN35_HUB}")
endif()
