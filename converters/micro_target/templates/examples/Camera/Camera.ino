// Grabs a frame, crops and scales it, and classifies it: Arduino Nano 33 BLE Sense with the OV7675
// of the Tiny Machine Learning Kit. Needs the libraries Arduino_OV767X and Arduino_TensorFlowLite
// (github.com/tensorflow/tflite-micro-arduino-examples).
#include <TensorFlowLite.h>
// Includes in this order: the IDE finds TFLite Micro by the header above.
#include <Arduino_OV767X.h>
#include <shufflenet.h>
#include <shufflenet_image.h>

static_assert(shufflenet::kHeight == shufflenet::kWidth, "the centre square is taken");

alignas(16) static uint8_t arena[shufflenet::kArenaBytes];
static shufflenet::Classifier classifier(arena);
// QCIF, 2 bytes for each pixel.
static uint8_t frame[176 * 144 * 2];
static uint8_t image[shufflenet::kHeight * shufflenet::kWidth * shufflenet::kChannels];
static bool ready = false;

void setup() {
  Serial.begin(115200);
  if (!Camera.begin(QCIF, RGB565, 1, OV7675)) {
    Serial.println("there is no camera");
    return;
  }
  ready = classifier.Init();
  if (!ready) Serial.println("the network cannot be set up");
}

void loop() {
  if (!ready) return;
  Camera.readFrame(frame);
  shufflenet::FromRgb565<shufflenet::kHeight, shufflenet::kChannels>(frame, Camera.width(),
                                                                    Camera.height(), image);
  const shufflenet::OutputType* scores = classifier.Classify(image);
  if (scores == nullptr) {
    Serial.println("the network failed");
    return;
  }
  const int best = shufflenet::Classifier::Best(scores);
  Serial.print(shufflenet::kLabels[best]);
  Serial.print(' ');
  Serial.println(shufflenet::Classifier::Logit(scores[best]));
}
