# cmake -DOUT=FILE.cpp -DFILES="A;B" -DHEADER=H -DFUNCTION=NAME -P embed.cmake: the files as the string that the function returns which H declares.
set(text "// Made by controllers/addons/embed.cmake.\n#include \"${HEADER}\"\n\n")
string(APPEND text "std::string_view ${FUNCTION}() {\n  return")
foreach(file IN LISTS FILES)
  file(READ ${file} content)
  string(APPEND text "\n      \"---\\n\"\n      R\"manifest(${content})manifest\"")
endforeach()
string(APPEND text ";\n}\n")
file(WRITE ${OUT} "${text}")
