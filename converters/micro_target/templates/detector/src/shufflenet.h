// A ShuffleNet in TFLite Micro that finds objects: takes an image and returns boxes.
// It allocates no memory and throws no exceptions; it only uses the object and the given arena.
#ifndef SHUFFLENET_H_
#define SHUFFLENET_H_

// Without it, TFLite Micro's structures have another layout; TFLite Micro's Makefile defines it.
#ifndef TF_LITE_STATIC_MEMORY
#define TF_LITE_STATIC_MEMORY
#endif

#include <cstddef>
#include <cstdint>

#include "detections.h"
#include "shufflenet_model.h"
#include "shufflenet_operators.h"
#include "tensorflow/lite/micro/micro_interpreter.h"

namespace shufflenet {

class Detector {
 public:
  using Boxes = Detections<kMaxBoxes, kCandidates>;

  // `arena` has kArenaBytes bytes and is aligned to 16 bytes; only this object may use it.
  explicit Detector(std::uint8_t* arena);
  Detector(const Detector&) = delete;
  Detector& operator=(const Detector&) = delete;

  // Call this once, before the first image. If it returns false, TFLite Micro's log has the reason.
  bool Init();

  // Takes kHeight * kWidth pixels of kChannels bytes (red, green, blue), row by row, and returns
  // the boxes of at least that score, the best first, or nullptr after an error. They are in the
  // object until the next call, in pixels of this image; kLabels has the names of their labels.
  const Boxes* Detect(const std::uint8_t* rgb, float score = kMinScore);

  // The network's output of the last image, kOutputs numbers, in the arena.
  const OutputType* Raw() { return interpreter_.typed_output_tensor<OutputType>(0); }

  // The bytes of the arena that are in use, after `Init`.
  std::size_t ArenaUsed() const { return interpreter_.arena_used_bytes(); }

 private:
  Resolver resolver_;
  tflite::MicroInterpreter interpreter_;
  Boxes boxes_;
};

}  // namespace shufflenet

#endif  // SHUFFLENET_H_
