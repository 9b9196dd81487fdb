// Classifies the golden image and compares every score with that of the machine that converted it.
// Needs the library Arduino_TensorFlowLite (github.com/tensorflow/tflite-micro-arduino-examples).
#include <TensorFlowLite.h>
// Includes in this order: the IDE finds TFLite Micro by the header above.
#include <shufflenet.h>

#include <cstdlib>

#include "golden.h"

alignas(16) static uint8_t arena[shufflenet::kArenaBytes];
static shufflenet::Classifier classifier(arena);
static bool ready = false;

void setup() {
  Serial.begin(115200);
  ready = classifier.Init();
  if (!ready) Serial.println("the network cannot be set up");
}

void loop() {
  if (!ready) return;
  const unsigned long start = millis();
  const shufflenet::OutputType* scores = classifier.Classify(shufflenet::kGoldenImage);
  const unsigned long elapsed = millis() - start;
  if (scores == nullptr) {
    Serial.println("the network failed");
    return;
  }
  int largest = 0;
  for (int i = 0; i < shufflenet::kClasses; ++i) {
    const int difference = abs(scores[i] - shufflenet::kGoldenScores[i]);
    largest = difference > largest ? difference : largest;
  }
  Serial.print(shufflenet::kLabels[shufflenet::Classifier::Best(scores)]);
  Serial.print(", milliseconds ");
  Serial.print(elapsed);
  Serial.print(", largest difference from the golden scores ");
  Serial.println(largest);
  delay(1000);
}
