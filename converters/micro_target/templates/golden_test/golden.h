// An image and its scores from TFLite Micro's interpreter (portable kernels), to compare with.
#ifndef GOLDEN_H_
#define GOLDEN_H_

#include <cstdint>

#include "shufflenet_model.h"

namespace shufflenet {

extern const std::uint8_t kGoldenImage[kHeight * kWidth * kChannels];
extern const OutputType kGoldenScores[kClasses];

}  // namespace shufflenet

#endif  // GOLDEN_H_
