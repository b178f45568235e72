# Slicer writes the extension's description here; the tests read what CMake made of the variables.
get_cmake_property(names VARIABLES)
set(description "name ${PROJECT_NAME}\n")
foreach(name ${names})
  if(name MATCHES "^EXTENSION_")
    string(APPEND description "${name} ${${name}}\n")
  endif()
endforeach()
file(WRITE ${CMAKE_BINARY_DIR}/description.txt "${description}")
