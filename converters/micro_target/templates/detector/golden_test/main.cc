// Finds the boxes in the golden image. Compares the network's output with that of TFLite Micro's
// interpreter when the model was converted, and the boxes with the host's. Exit code 0: all numbers
// of the output are equal, and all boxes are equal to a thousandth of a pixel.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "golden.h"
#include "shufflenet.h"
#include "tensorflow/lite/micro/system_setup.h"

namespace {

// Static, because the stack is far too small.
alignas(16) std::uint8_t arena[shufflenet::kArenaBytes];
shufflenet::Detector detector(arena);

int LargestDifference(const shufflenet::OutputType* raw) {
  int largest = 0;
  for (int i = 0; i < shufflenet::kOutputs; ++i) {
    const int difference = std::abs(raw[i] - shufflenet::kGoldenScores[i]);
    largest = difference > largest ? difference : largest;
  }
  return largest;
}

float Largest(float a, float b) { return a > b ? a : b; }

// Returns the largest difference of a side, in pixels; huge if there are other boxes.
float LargestDistance(const shufflenet::Detector::Boxes& boxes) {
  if (boxes.size() != shufflenet::kGoldenCount) return HUGE_VALF;
  float largest = 0.0f;
  for (int i = 0; i < boxes.size(); ++i) {
    const shufflenet::Detection& ours = boxes[i];
    const shufflenet::Detection& golden = shufflenet::kGoldenBoxes[i];
    if (ours.label != golden.label) return HUGE_VALF;
    largest = Largest(largest, std::fabs(ours.left - golden.left));
    largest = Largest(largest, std::fabs(ours.top - golden.top));
    largest = Largest(largest, std::fabs(ours.right - golden.right));
    largest = Largest(largest, std::fabs(ours.bottom - golden.bottom));
  }
  return largest;
}

}  // namespace

int main() {
  tflite::InitializeTarget();
  if (!detector.Init()) {
    std::printf("the network cannot be set up\n");
    return 1;
  }
  const shufflenet::Detector::Boxes* boxes =
      detector.Detect(shufflenet::kGoldenImage, shufflenet::kGoldenScore);
  if (boxes == nullptr) {
    std::printf("the network failed\n");
    return 1;
  }
  for (const shufflenet::Detection& box : *boxes) {
    std::printf("%s, score %d%%: %d, %d to %d, %d\n", shufflenet::kLabels[box.label],
                static_cast<int>(100 * box.score), static_cast<int>(box.left),
                static_cast<int>(box.top), static_cast<int>(box.right),
                static_cast<int>(box.bottom));
  }
  const int difference = LargestDifference(detector.Raw());
  const float distance = LargestDistance(*boxes);
  std::printf("arena: %lu of %lu bytes used\n", static_cast<unsigned long>(detector.ArenaUsed()),
              static_cast<unsigned long>(shufflenet::kArenaBytes));
  std::printf("boxes: %d of %d\n", boxes->size(), shufflenet::kGoldenCount);
  std::printf("largest difference from the golden scores: %d\n", difference);
  return difference == 0 && distance < 1e-3f ? 0 : 1;
}
