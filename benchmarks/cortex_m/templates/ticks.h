// SysTick's time since it was started, without the limit of its 24 bits.
#ifndef TICKS_H_
#define TICKS_H_

#include <cstdint>

namespace ticks {

inline volatile std::uint32_t wraps = 0;

// https://developer.arm.com/documentation/ddi0403, B3.3
struct Registers {
  volatile std::uint32_t control, reload, value;
};
inline Registers* const kSysTick = reinterpret_cast<Registers*>(0xe000e010);
constexpr std::uint32_t kReload = 0xffffff;
constexpr std::uint32_t kEnable = 1, kInterrupt = 2, kProcessorClock = 4;

inline void Start() {
  kSysTick->reload = kReload;
  kSysTick->value = 0;
  kSysTick->control = kEnable | kInterrupt | kProcessorClock;
  // It stands at 0 until its first tick.
  while (kSysTick->value == 0) {
  }
}

inline std::uint64_t Now() {
  for (;;) {
    const std::uint32_t before = wraps, value = kSysTick->value;
    if (wraps == before) {
      return static_cast<std::uint64_t>(before) * (kReload + 1ull) + (kReload - value);
    }
  }
}

// The time of `turns` rounds of three instructions.
inline std::uint64_t OfLoop(std::uint32_t turns) {
  const std::uint64_t start = Now();
  asm volatile("1: subs %0, %0, #1\n nop\n bne 1b" : "+r"(turns) : : "cc");
  return Now() - start;
}

}  // namespace ticks

extern "C" inline __attribute__((used)) void SysTick() { ticks::wraps = ticks::wraps + 1; }

#endif  // TICKS_H_
