#include "shufflenet.h"

#include "tensorflow/lite/schema/schema_generated.h"

namespace shufflenet {

Detector::Detector(std::uint8_t* arena)
    : interpreter_(tflite::GetModel(kModel), resolver_, arena, kArenaBytes) {}

bool Detector::Init() {
  return tflite::GetModel(kModel)->version() == TFLITE_SCHEMA_VERSION &&
         AddOperators(&resolver_) == kTfLiteOk && interpreter_.AllocateTensors() == kTfLiteOk;
}

const Detector::Boxes* Detector::Detect(const std::uint8_t* rgb, float score) {
  // Written for each image: other tensors use the input's memory while the network runs.
  InputType* input = interpreter_.typed_input_tensor<InputType>(0);
  if (input == nullptr) return nullptr;
  for (int pixel = 0; pixel < kHeight * kWidth; ++pixel) {
    for (int channel = 0; channel < kChannels; ++channel) {
      *input++ = kInputTable[channel][*rgb++];
    }
  }
  if (interpreter_.Invoke() != kTfLiteOk) return nullptr;
  const OutputType* raw = Raw();
  if (raw == nullptr) return nullptr;
  boxes_.Find(raw, kLayout, score, kMaxOverlap);
  return &boxes_;
}

}  // namespace shufflenet
