# syncflow_room(NAME SOURCES ... LINKS ... [PRIVATE_LINKS ...])
# One static library per room; LINKS repeat the include arrows, PRIVATE_LINKS are the foreign libraries it is the home of.
function(syncflow_flags target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                         $<$<BOOL:${SYNCFLOW_WARNINGS_ARE_ERRORS}>:-Werror>)
  if(SYNCFLOW_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${SYNCFLOW_SANITIZE} -fno-omit-frame-pointer
                           -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=${SYNCFLOW_SANITIZE})
  endif()
  if(SYNCFLOW_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
endfunction()

function(syncflow_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(${name} STATIC ${ROOM_SOURCES})
  syncflow_flags(${name})
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  target_link_libraries(${name} PUBLIC ${ROOM_LINKS} PRIVATE ${ROOM_PRIVATE_LINKS})
endfunction()

# syncflow_test(NAME SOURCES ... LINKS ...): a GoogleTest program and a ctest entry of the same name.
# Names ending in _pgtest start a private PostgreSQL and carry the label "postgres".
function(syncflow_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  syncflow_flags(${name})
  target_link_libraries(${name} PRIVATE ${TEST_LINKS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE SYNCFLOW_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 900)
  if(name MATCHES "_pgtest$")
    set_tests_properties(${name} PROPERTIES LABELS postgres)
  endif()
endfunction()
