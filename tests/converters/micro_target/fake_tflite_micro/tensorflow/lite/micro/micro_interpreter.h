// A fake of TFLite Micro's interpreter with the real signatures. It runs no network: it returns the
// golden scores if its input is the test's `kExpectedInput`, and zeros otherwise.
#ifndef TENSORFLOW_LITE_MICRO_MICRO_INTERPRETER_H_
#define TENSORFLOW_LITE_MICRO_MICRO_INTERPRETER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "expected.h"
#include "golden.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

#define TFLITE_SCHEMA_VERSION (3)

#ifndef TF_LITE_STATIC_MEMORY
#error "TFLite Micro's library is built with TF_LITE_STATIC_MEMORY"
#endif

namespace tflite {

class MicroInterpreter {
 public:
  MicroInterpreter(const Model*, const MicroOpResolver& resolver, std::uint8_t* arena,
                   std::size_t arena_size)
      : resolver_(resolver), arena_(arena), arena_size_(arena_size) {}

  // Exactly as many operators as there is room for, and an aligned arena.
  TfLiteStatus AllocateTensors() {
    const bool aligned = reinterpret_cast<std::uintptr_t>(arena_) % 16 == 0;
    return aligned && resolver_.Room() == 0 && sizeof(kExpectedInput) < arena_size_
               ? kTfLiteOk
               : kTfLiteError;
  }

  TfLiteStatus Invoke() {
    const bool expected = std::memcmp(arena_, kExpectedInput, sizeof(kExpectedInput)) == 0;
    std::memset(arena_, 0, sizeof(kExpectedInput));
    if (expected) {
      std::memcpy(scores_, shufflenet::kGoldenScores, sizeof(scores_));
    }
    return kTfLiteOk;
  }

  template <class T>
  T* typed_input_tensor(int) {
    return reinterpret_cast<T*>(arena_);
  }

  template <class T>
  T* typed_output_tensor(int) {
    return scores_;
  }

  std::size_t arena_used_bytes() const { return arena_size_; }

 private:
  const MicroOpResolver& resolver_;
  std::uint8_t* arena_;
  std::size_t arena_size_;
  shufflenet::OutputType scores_[sizeof(shufflenet::kGoldenScores)] = {};
};

}  // namespace tflite

#endif  // TENSORFLOW_LITE_MICRO_MICRO_INTERPRETER_H_
