// Classifies the golden image and compares every score with that of TFLite Micro's interpreter when
// the model was converted. Exit code 0: all scores are equal.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "golden.h"
#include "shufflenet.h"
#include "tensorflow/lite/micro/system_setup.h"

namespace {

// Static, because the stack is far too small.
alignas(16) std::uint8_t arena[shufflenet::kArenaBytes];
shufflenet::Classifier classifier(arena);

int LargestDifference(const shufflenet::OutputType* scores) {
  int largest = 0;
  for (int i = 0; i < shufflenet::kClasses; ++i) {
    const int difference = std::abs(scores[i] - shufflenet::kGoldenScores[i]);
    largest = difference > largest ? difference : largest;
  }
  return largest;
}

}  // namespace

int main() {
  tflite::InitializeTarget();
  if (!classifier.Init()) {
    std::printf("the network cannot be set up\n");
    return 1;
  }
  const shufflenet::OutputType* scores = classifier.Classify(shufflenet::kGoldenImage);
  if (scores == nullptr) {
    std::printf("the network failed\n");
    return 1;
  }
  const int best = shufflenet::Classifier::Best(scores);
  const int difference = LargestDifference(scores);
  std::printf("class %d (%s), score %d\n", best, shufflenet::kLabels[best],
              static_cast<int>(scores[best]));
  std::printf("arena: %lu of %lu bytes used\n",
              static_cast<unsigned long>(classifier.ArenaUsed()),
              static_cast<unsigned long>(shufflenet::kArenaBytes));
  std::printf("largest difference from the golden scores: %d\n", difference);
  return difference == 0 ? 0 : 1;
}
