# SPDX-License-Identifier: GPL-2.0-or-later
# What every hosted target of the tree is built with. Link `escalus_options` to get it.
# (The monitor is freestanding and has options of its own in vmm/CMakeLists.txt.)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)

set(ESCALUS_WARNINGS -Wall -Wextra -Wpedantic -Werror -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
    -Wold-style-cast -Wcast-qual)

add_library(escalus_options INTERFACE)
target_include_directories(escalus_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(escalus_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${ESCALUS_WARNINGS}>)
if(ESCALUS_UNITY) # GCC takes a file among several for a header; the other builds have these warnings
    target_compile_options(escalus_options INTERFACE -Wno-shadow $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endif()
# A short way into shared libraries, and tables that nobody can write to once the program runs.
target_compile_options(escalus_options INTERFACE -fno-plt)
target_link_options(escalus_options INTERFACE -Wl,-z,relro,-z,now)
target_link_libraries(escalus_options INTERFACE fmt::fmt Threads::Threads)

# Asio's implementation is an object of its own (devmodel/asio.cpp).
add_library(escalus_asio STATIC ${CMAKE_SOURCE_DIR}/devmodel/asio.cpp)
target_compile_definitions(escalus_asio PUBLIC BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION)
target_link_libraries(escalus_asio PUBLIC Threads::Threads)
target_link_libraries(escalus_options INTERFACE escalus_asio)

if(ESCALUS_SANITIZE)
    set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_compile_options(escalus_options INTERFACE ${sanitizers})
    target_compile_options(escalus_asio PRIVATE ${sanitizers})
    target_link_options(escalus_options INTERFACE ${sanitizers})
endif()
if(ESCALUS_FUZZ)
    set(sanitizers -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
    target_compile_options(escalus_options INTERFACE ${sanitizers})
    target_compile_options(escalus_asio PRIVATE ${sanitizers})
    target_link_options(escalus_options INTERFACE -fsanitize=address,undefined)
endif()

# What a test program's own files are compiled with: half of a build's time went into optimizing what Catch2's macros
# become. The code under test keeps its preset's options.
set(ESCALUS_TEST_OPTIONS $<IF:$<BOOL:${ESCALUS_SANITIZE}>,-O0,-O1> -g1)

# Catch2's header is half of what is left, and the same for all; clang would want the same definitions everywhere.
string(COMPARE EQUAL "${CMAKE_CXX_COMPILER_ID}" GNU ESCALUS_PRECOMPILE_CATCH)

# escalus_unit_test(NAME SOURCES... LIBRARIES...): one Catch2 executable, known to ctest by its name.
function(escalus_unit_test name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_compile_options(${name} PRIVATE ${ESCALUS_TEST_OPTIONS})
    target_link_libraries(${name} PRIVATE escalus_options escalus_catch_main ${ARG_LIBRARIES})
    if(ESCALUS_PRECOMPILE_CATCH)
        target_precompile_headers(${name} REUSE_FROM escalus_catch_header)
    endif()
    add_test(NAME ${name} COMMAND ${name})
endfunction()
