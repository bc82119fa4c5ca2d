# cmake -DOUT=FILE.cpp -DFILES="A;B" -P embed.cmake: the files as the string that builtin_manifest() returns (loop_builtin.hpp).
set(text "// Made by controllers/addons/embed.cmake.\n#include \"controllers/addons/loop_builtin.hpp\"\n\n")
string(APPEND text "std::string_view endstate::addons::builtin_manifest() {\n  return")
foreach(file IN LISTS FILES)
  file(READ ${file} content)
  string(APPEND text "\n      \"---\\n\"\n      R\"manifest(${content})manifest\"")
endforeach()
string(APPEND text ";\n}\n")
file(WRITE ${OUT} "${text}")
