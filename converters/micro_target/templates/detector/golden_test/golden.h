// An image, the network's output for it in TFLite Micro's interpreter (portable kernels), and the
// boxes that the host decodes from this output, to compare with.
#ifndef GOLDEN_H_
#define GOLDEN_H_

#include <cstdint>

#include "detections.h"
#include "shufflenet_model.h"

namespace shufflenet {

extern const std::uint8_t kGoldenImage[kHeight * kWidth * kChannels];
extern const OutputType kGoldenScores[kOutputs];

// The least score of the boxes below.
extern const float kGoldenScore;
extern const int kGoldenCount;
extern const Detection kGoldenBoxes[];

}  // namespace shufflenet

#endif  // GOLDEN_H_
