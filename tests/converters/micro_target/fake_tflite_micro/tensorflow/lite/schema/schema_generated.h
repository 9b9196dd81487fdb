// A fake model that only knows its schema's version.
#ifndef TENSORFLOW_LITE_SCHEMA_SCHEMA_GENERATED_H_
#define TENSORFLOW_LITE_SCHEMA_SCHEMA_GENERATED_H_

namespace tflite {

class Model {
 public:
  int version() const { return 3; }
};

inline const Model* GetModel(const void*) {
  static const Model model;
  return &model;
}

}  // namespace tflite

#endif  // TENSORFLOW_LITE_SCHEMA_SCHEMA_GENERATED_H_
