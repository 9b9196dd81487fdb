// Makes the network's image from a camera's frame: the centre square, scaled down by averaging.
#ifndef SHUFFLENET_IMAGE_H_
#define SHUFFLENET_IMAGE_H_

#include <cstddef>
#include <cstdint>

namespace shufflenet {

// Unpacks a pixel of RGB565, whose first byte is the high one, to red, green and blue of 8 bits.
inline void Rgb565(const std::uint8_t* pixel, std::uint8_t* rgb) {
  const unsigned red = pixel[0] >> 3, blue = pixel[1] & 31;
  const unsigned green = (pixel[0] & 7u) << 3 | pixel[1] >> 5;
  rgb[0] = static_cast<std::uint8_t>(red << 3 | red >> 2);
  rgb[1] = static_cast<std::uint8_t>(green << 2 | green >> 4);
  rgb[2] = static_cast<std::uint8_t>(blue << 3 | blue >> 2);
}

// Writes kSize * kSize pixels of kChannels bytes from a frame of RGB565, row by row. Each is the
// mean of the pixels that it covers, or the nearest one if the frame's side is smaller. With one
// channel it is the mean of green, as a camera's grey nearly is.
template <int kSize, int kChannels>
void FromRgb565(const std::uint8_t* frame, int width, int height, std::uint8_t* image) {
  static_assert(kChannels == 1 || kChannels == 3, "grey or red, green and blue");
  const int side = width < height ? width : height;
  const int left = (width - side) / 2, top = (height - side) / 2;
  for (int y = 0; y < kSize; ++y) {
    const int y0 = y * side / kSize, y1 = (y + 1) * side / kSize;
    for (int x = 0; x < kSize; ++x) {
      const int x0 = x * side / kSize, x1 = (x + 1) * side / kSize;
      unsigned sums[3] = {}, count = 0;
      for (int row = y0; row < (y1 > y0 ? y1 : y0 + 1); ++row) {
        for (int column = x0; column < (x1 > x0 ? x1 : x0 + 1); ++column) {
          std::uint8_t rgb[3];
          Rgb565(frame + 2 * (static_cast<std::size_t>(top + row) * width + left + column), rgb);
          for (int channel = 0; channel < 3; ++channel) sums[channel] += rgb[channel];
          ++count;
        }
      }
      for (int channel = 0; channel < kChannels; ++channel) {
        const unsigned sum = sums[kChannels == 1 ? 1 : channel];
        *image++ = static_cast<std::uint8_t>((sum + count / 2) / count);
      }
    }
  }
}

}  // namespace shufflenet

#endif  // SHUFFLENET_IMAGE_H_
