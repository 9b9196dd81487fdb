// The minimum for a program on one of QEMU's Cortex-M boards: vectors, memory, and semihosting
// for printf and the exit code.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

extern "C" {

// Defined by the linker script.
extern std::uint32_t stack_top, bss_start, bss_end;

void __libc_init_array();
int main();

// https://github.com/ARM-software/abi-aa/blob/main/semihosting/semihosting.rst
enum : std::uintptr_t { kWriteByte = 0x03, kExitExtended = 0x20, kApplicationExit = 0x20026 };

static void Semihost(std::uintptr_t operation, const void* argument) {
  register std::uintptr_t r0 asm("r0") = operation;
  register const void* r1 asm("r1") = argument;
  asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

int _write(int, const char* text, int length) {
  for (int i = 0; i < length; ++i) Semihost(kWriteByte, text + i);
  return length;
}

[[noreturn]] void _exit(int code) {
  const std::uintptr_t block[] = {kApplicationExit, static_cast<std::uintptr_t>(code)};
  Semihost(kExitExtended, block);
  for (;;) {
  }
}

// For the destructors of global objects.
__attribute__((visibility("hidden"))) void* __dso_handle = nullptr;

void _init() {}

[[noreturn]] void Fault() { _exit(99); }

[[noreturn]] void Reset() {
  // The floating-point unit is off after a reset: CPACR gives access to coprocessors 10 and 11.
  *reinterpret_cast<volatile std::uint32_t*>(0xe000ed88) |= 0xfu << 20;
  asm volatile("dsb\nisb" ::: "memory");
  // QEMU has already loaded the data.
  for (std::uint32_t* word = &bss_start; word < &bss_end; ++word) *word = 0;
  __libc_init_array();
  exit(main());
}

// A program that starts SysTick defines it.
__attribute__((weak)) void SysTick() { Fault(); }

using Vector = void (*)();

__attribute__((section(".vectors"), used)) const Vector vectors[16] = {
    reinterpret_cast<Vector>(&stack_top), Reset, Fault, Fault, Fault, Fault, Fault, Fault,
    Fault, Fault, Fault, Fault, Fault, Fault, Fault, SysTick};

}  // extern "C"
