#include "shufflenet.h"

#include <algorithm>

#include "tensorflow/lite/schema/schema_generated.h"

namespace shufflenet {

Classifier::Classifier(std::uint8_t* arena)
    : interpreter_(tflite::GetModel(kModel), resolver_, arena, kArenaBytes) {}

bool Classifier::Init() {
  return tflite::GetModel(kModel)->version() == TFLITE_SCHEMA_VERSION &&
         AddOperators(&resolver_) == kTfLiteOk && interpreter_.AllocateTensors() == kTfLiteOk;
}

const OutputType* Classifier::Classify(const std::uint8_t* rgb) {
  // Written for each image: other tensors use the input's memory while the network runs.
  InputType* input = interpreter_.typed_input_tensor<InputType>(0);
  if (input == nullptr) return nullptr;
  for (int pixel = 0; pixel < kHeight * kWidth; ++pixel) {
    for (int channel = 0; channel < kChannels; ++channel) {
      *input++ = kInputTable[channel][*rgb++];
    }
  }
  if (interpreter_.Invoke() != kTfLiteOk) return nullptr;
  return interpreter_.typed_output_tensor<OutputType>(0);
}

int Classifier::Best(const OutputType* scores) {
  return static_cast<int>(std::max_element(scores, scores + kClasses) - scores);
}

}  // namespace shufflenet
