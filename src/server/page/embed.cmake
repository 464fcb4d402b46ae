# cmake -DFOLDER=dir -DFILES="a;b" -DOUTPUT=file.cpp -P embed.cmake
# Writes the files of the page as one C++ source, so that the binary carries them. Arrays of bytes and not string literals:
# compilers may refuse long literals.
set(types_html "text/html; charset=utf-8")
set(types_css "text/css; charset=utf-8")
set(types_js "text/javascript; charset=utf-8")
set(types_svg "image/svg+xml")

string(REPLACE "|" ";" FILES "${FILES}")
set(arrays "")
set(entries "")
set(count 0)
foreach(file IN LISTS FILES)
  string(REGEX MATCH "[^.]+$" ending "${file}")
  if(NOT DEFINED types_${ending})
    message(FATAL_ERROR "${file}: embed.cmake knows no content type for the ending '${ending}'; add one above")
  endif()
  file(READ "${FOLDER}/${file}" bytes HEX)
  if(bytes STREQUAL "")
    message(FATAL_ERROR "${FOLDER}/${file} is empty")
  endif()
  file(SHA256 "${FOLDER}/${file}" hash)
  string(SUBSTRING "${hash}" 0 32 hash)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
  string(REGEX REPLACE "('.....,'.....,'.....,'.....,'.....,'.....,'.....,'.....,'.....,'.....,'.....,'.....,'.....,'.....,'.....,'.....,)"
                       "\\1\n" bytes "${bytes}")
  string(APPEND arrays "constexpr char kFile${count}[] = {  // ${file}\n${bytes}};\n")
  string(APPEND entries "    {\"/${file}\", \"${types_${ending}}\", {kFile${count}, sizeof kFile${count}}, \"\\\"${hash}\\\"\"},\n")
  math(EXPR count "${count} + 1")
endforeach()

file(WRITE "${OUTPUT}.new" "// Made by embed.cmake; do not edit.
#include <span>

#include \"server/page/assets.h\"

namespace qwen35::server {
namespace {
${arrays}
constexpr Asset kAll[] = {
${entries}};
}  // namespace

extern const std::span<const Asset> kAssets;
const std::span<const Asset> kAssets(kAll);

}  // namespace qwen35::server
")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
