// Prints SysTick's time of loops of known length.
#include <cstdio>
#include <initializer_list>

#include "ticks.h"

int main() {
  ticks::Start();
  for (const std::uint32_t turns : {100000u, 400000u, 1600000u, 400000000u}) {
    std::printf("loop %lu %lu\n", static_cast<unsigned long>(turns),
                static_cast<unsigned long>(ticks::OfLoop(turns)));
  }
}
