// A ShuffleNet in TFLite Micro: takes an image and returns a score for each class.
// It allocates no memory and throws no exceptions; it only uses the object and the given arena.
#ifndef SHUFFLENET_H_
#define SHUFFLENET_H_

// Without it, TFLite Micro's structures have another layout; TFLite Micro's Makefile defines it.
#ifndef TF_LITE_STATIC_MEMORY
#define TF_LITE_STATIC_MEMORY
#endif

#include <cstddef>
#include <cstdint>

#include "shufflenet_model.h"
#include "shufflenet_operators.h"
#include "tensorflow/lite/micro/micro_interpreter.h"

namespace shufflenet {

class Classifier {
 public:
  // `arena` has kArenaBytes bytes and is aligned to 16 bytes; only this object may use it.
  explicit Classifier(std::uint8_t* arena);
  Classifier(const Classifier&) = delete;
  Classifier& operator=(const Classifier&) = delete;

  // Call this once, before the first image. If it returns false, TFLite Micro's log has the reason.
  bool Init();

  // Takes kHeight * kWidth pixels of kChannels bytes (red, green, blue), row by row, and returns
  // kClasses scores, or nullptr after an error. The scores are in the arena until the next call. A
  // larger score means a larger logit; `Logit` returns the logit.
  const OutputType* Classify(const std::uint8_t* rgb);

  // Returns the index of the largest of kClasses scores; kLabels has its name.
  static int Best(const OutputType* scores);

  static float Logit(OutputType score) {
    return static_cast<float>(score - kOutputZeroPoint) * kOutputScale;
  }

  // The bytes of the arena that are in use, after `Init`.
  std::size_t ArenaUsed() const { return interpreter_.arena_used_bytes(); }

 private:
  Resolver resolver_;
  tflite::MicroInterpreter interpreter_;
};

}  // namespace shufflenet

#endif  // SHUFFLENET_H_
