// Stands in for Arduino's core on this machine: Serial writes to stdout.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>

inline unsigned long millis() { return 7; }
inline void delay(unsigned long) {}

struct FakeSerial {
  void begin(long) {}
  void print(const char* text) { std::printf("%s", text); }
  void print(char letter) { std::printf("%c", letter); }
  void print(unsigned long number) { std::printf("%lu", number); }
  void println(const char* text) { std::printf("%s\n", text); }
  void println(int number) { std::printf("%d\n", number); }
  void println(float number) { std::printf("%.3f\n", static_cast<double>(number)); }
};
inline FakeSerial Serial;
