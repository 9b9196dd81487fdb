// A ShuffleNet in TFLite Micro: an image in, a score for each class out.
// It allocates nothing and throws nothing; all memory is the object and the arena it is given.
#ifndef SHUFFLENET_H_
#define SHUFFLENET_H_

// TFLite Micro's structures have another layout without it; its Makefile defines it too.
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
  // `arena` has kArenaBytes, is aligned to 16 bytes, and is this object's alone.
  explicit Classifier(std::uint8_t* arena);
  Classifier(const Classifier&) = delete;
  Classifier& operator=(const Classifier&) = delete;

  // Call it once, before the first image. False: TFLite Micro's log says why.
  bool Init();

  // Takes kHeight * kWidth pixels of kChannels bytes (red, green, blue), row by row, and returns
  // kClasses scores, or nullptr after an error. They stand in the arena until the next call. A
  // larger score is a larger logit; `Logit` gives its value.
  const OutputType* Classify(const std::uint8_t* rgb);

  // The index of the largest of kClasses scores; kLabels has its name.
  static int Best(const OutputType* scores);

  static float Logit(OutputType score) {
    return static_cast<float>(score - kOutputZeroPoint) * kOutputScale;
  }

  // What of the arena is in use; after `Init`.
  std::size_t ArenaUsed() const { return interpreter_.arena_used_bytes(); }

 private:
  Resolver resolver_;
  tflite::MicroInterpreter interpreter_;
};

}  // namespace shufflenet

#endif  // SHUFFLENET_H_
