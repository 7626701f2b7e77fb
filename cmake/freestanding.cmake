# SPDX-License-Identifier: GPL-2.0-or-later
# escalus_freestanding(TARGET): programs that run without an operating system, loaded by a Multiboot loader: the monitor and
# test/nested.
function(escalus_freestanding target)
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR})
    target_compile_options(${target} PRIVATE
        -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only -mcmodel=small
        -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -fno-omit-frame-pointer
        $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-use-cxa-atexit
          -Wall -Wextra -Wpedantic -Werror -Wshadow -Wold-style-cast -Wcast-qual>
        -O2 -g)
    target_link_options(${target} PRIVATE
        -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack
        -Wl,-T,${CMAKE_SOURCE_DIR}/vmm/boot/monitor.ld)
    set_target_properties(${target} PROPERTIES LINK_DEPENDS ${CMAKE_SOURCE_DIR}/vmm/boot/monitor.ld)
endfunction()
