// Runs a model in TFLite Micro and prints SysTick's time of loops of known length and of inferences,
// and the outputs.
#include <cstdio>
#include <initializer_list>

#include "operators.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"
#include "ticks.h"

extern "C" const unsigned char model[];

namespace {

// Static, because the stack is far too small.
alignas(16) std::uint8_t arena[kArenaBytes];

// The same numbers as benchmarks/cortex_m/counting.py.
void FillInput(TfLiteTensor* input) {
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < input->bytes; ++i) {
    state = state * 1664525u + 1013904223u;
    input->data.int8[i] = static_cast<std::int8_t>(state >> 24);
  }
}

}  // namespace

int main() {
  tflite::InitializeTarget();
  ticks::Start();
  for (const std::uint32_t turns : {100000u, 400000u, 1600000u}) {
    std::printf("loop %lu %lu\n", static_cast<unsigned long>(turns),
                static_cast<unsigned long>(ticks::OfLoop(turns)));
  }
  static Resolver resolver;
  if (AddOperators(&resolver) != kTfLiteOk) return 2;
  static tflite::MicroInterpreter interpreter(tflite::GetModel(model), resolver, arena,
                                              kArenaBytes);
  if (interpreter.AllocateTensors() != kTfLiteOk) return 3;
  std::printf("arena %lu\n", static_cast<unsigned long>(interpreter.arena_used_bytes()));
  for (int run = 0; run < 2; ++run) {
    FillInput(interpreter.input(0));
    const std::uint64_t start = ticks::Now();
    if (interpreter.Invoke() != kTfLiteOk) return 4;
    std::printf("inference %lu\n", static_cast<unsigned long>(ticks::Now() - start));
  }
  const TfLiteTensor* output = interpreter.output(0);
  for (std::size_t i = 0; i < output->bytes; ++i) std::printf("output %d\n", output->data.int8[i]);
  return 0;
}
