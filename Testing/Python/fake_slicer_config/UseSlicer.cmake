include(CMakeParseArguments)

# As Slicer's: files are named relative to the calling folder and keep that path below qt-scripted-modules. Slicer
# mangles absolute paths and leaves out, silently, what lies outside; here that is an error.
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT MY_NAME OR NOT MY_SCRIPTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: wrong arguments ${ARGN}")
  endif()
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    if(IS_ABSOLUTE ${file} OR "${file}" MATCHES "\\.\\." OR NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "${MY_NAME}: ${file} is not a file of this folder")
    endif()
    get_filename_component(folder ${file} PATH)
    install(FILES ${file} DESTINATION ${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}/${folder})
  endforeach()
endmacro()

macro(slicer_add_python_test)
  cmake_parse_arguments(MY "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS;SCRIPT_ARGS" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT})
    message(FATAL_ERROR "no test script ${MY_SCRIPT}")
  endif()
endmacro()

macro(slicer_add_python_unittest)
  slicer_add_python_test(${ARGN})
endmacro()
