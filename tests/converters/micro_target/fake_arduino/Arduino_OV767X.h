// Stands in for the library of the camera: a frame of one colour.
#pragma once
#include <cstdint>

enum { QCIF, RGB565, OV7675 };

struct FakeCamera {
  bool begin(int resolution, int format, int frames_per_second, int sensor) {
    return resolution == QCIF && format == RGB565 && frames_per_second == 1 && sensor == OV7675;
  }
  int width() const { return 176; }
  int height() const { return 144; }
  void readFrame(std::uint8_t* frame) {
    // Red 31, green 32, blue 0.
    for (int i = 0; i < 176 * 144; ++i) {
      frame[2 * i] = 31 << 3 | 4;
      frame[2 * i + 1] = 0;
    }
  }
};
inline FakeCamera Camera;
