// Boxes from the raw output of a detector: decoding and non-maximum suppression.
// Header only, C++11. It allocates no memory and throws no exceptions; it only uses the object.
// The same boxes as common/detection/nms.py of keras_shufflenet, apart from rounding.
//
//   static shufflenet::Detections<100, 300> found;  // 4.8 kB
//   const shufflenet::Layout layout = {320, 320, {8, 16, 32}, 3, 3, kOutputScale, kOutputZeroPoint};
//   found.Find(output, layout, 0.3f, 0.6f);
//   for (const shufflenet::Detection& one : found) Draw(one);
#ifndef SHUFFLENET_DETECTIONS_H_
#define SHUFFLENET_DETECTIONS_H_

#include <algorithm>
#include <cmath>

namespace shufflenet {

// Pixels of the network's input; `label` counts from 0.
struct Detection {
  float left, top, right, bottom;
  float score;
  int label;
};

// What a detector's output is like.
struct Layout {
  int height, width;   // of the network's input, in pixels: multiples of each stride
  int strides[3];      // in the order of the output
  int levels;          // how many strides there are
  int classes;
  float scale;         // real value = (value - zero_point) * scale; 1 and 0 for floats
  int zero_point;
};

// Finds at most kMost boxes; looks for duplicates among the kCandidates best scores.
template <int kMost, int kCandidates>
class Detections {
 public:
  // Takes the output, [points, 4 + classes], and returns the number of boxes, the best first. Boxes
  // of one class overlap by an IoU of at most `overlap`; a score below `score` (0 to 1) is no box.
  template <typename Value>
  int Find(const Value* raw, const Layout& layout, float score, float overlap) {
    const int row = kSides + layout.classes;
    const int candidates = Best(raw, layout, Logit(score));
    size_ = 0;
    for (int i = 0; i < candidates && size_ < kMost; ++i) {
      const int point = candidates_[i].index / layout.classes;
      Detection box = Decode(raw + static_cast<long>(point) * row, layout, point);
      box.label = candidates_[i].index % layout.classes;
      box.score = 1.0f / (1.0f + std::exp(-candidates_[i].logit));
      if (!IsDuplicate(box, overlap)) found_[size_++] = box;
    }
    return size_;
  }

  int size() const { return size_; }
  const Detection& operator[](int index) const { return found_[index]; }
  const Detection* begin() const { return found_; }
  const Detection* end() const { return found_ + size_; }

 private:
  static constexpr int kSides = 4;

  struct Candidate {
    float logit;
    int index;  // point * classes + label
    // Whether this one is looked at first; of equal scores, the first in the output is.
    bool operator<(const Candidate& other) const {
      return logit > other.logit || (logit == other.logit && index < other.index);
    }
  };

  static float Logit(float score) {
    if (score <= 0.0f) return -HUGE_VALF;
    return score >= 1.0f ? HUGE_VALF : std::log(score / (1.0f - score));
  }

  template <typename Value>
  static float Real(Value value, const Layout& layout) {
    return (static_cast<float>(value) - static_cast<float>(layout.zero_point)) * layout.scale;
  }

  // Fills `candidates_` with the best scores, sorted; returns how many there are.
  template <typename Value>
  int Best(const Value* raw, const Layout& layout, float least) {
    const int points = Points(layout);
    int count = 0;
    for (int point = 0; point < points; ++point) {
      raw += kSides;
      for (int label = 0; label < layout.classes; ++label, ++raw) {
        const Candidate one = {Real(*raw, layout), point * layout.classes + label};
        if (!(one.logit >= least)) continue;
        // A heap: the worst of the best is at its front.
        if (count == kCandidates) {
          if (!(one < candidates_[0])) continue;
          std::pop_heap(candidates_, candidates_ + count--);
        }
        candidates_[count++] = one;
        std::push_heap(candidates_, candidates_ + count);
      }
    }
    std::sort_heap(candidates_, candidates_ + count);
    return count;
  }

  static int Points(const Layout& layout) {
    int points = 0;
    for (int level = 0; level < layout.levels; ++level) points += Cells(layout, level);
    return points;
  }

  static int Cells(const Layout& layout, int level) {
    const int stride = layout.strides[level];
    return (layout.height / stride) * (layout.width / stride);
  }

  template <typename Value>
  static Detection Decode(const Value* sides, const Layout& layout, int point) {
    int level = 0;
    while (point >= Cells(layout, level)) point -= Cells(layout, level++);
    const int stride = layout.strides[level], columns = layout.width / stride;
    const float x = (static_cast<float>(point % columns) + 0.5f) * static_cast<float>(stride);
    const float y = (static_cast<float>(point / columns) + 0.5f) * static_cast<float>(stride);
    float reach[kSides];
    for (int side = 0; side < kSides; ++side) {
      const float raw = std::min(std::max(Real(sides[side], layout), -4.0f), 4.0f);
      reach[side] = std::exp(raw) * static_cast<float>(2 * stride);
    }
    return {x - reach[0], y - reach[1], x + reach[2], y + reach[3], 0.0f, 0};
  }

  static float Area(const Detection& box) {
    return std::max(box.right - box.left, 0.0f) * std::max(box.bottom - box.top, 0.0f);
  }

  bool IsDuplicate(const Detection& box, float overlap) const {
    for (int i = 0; i < size_; ++i) {
      const Detection& kept = found_[i];
      if (kept.label != box.label) continue;
      const float width = std::min(kept.right, box.right) - std::max(kept.left, box.left);
      const float height = std::min(kept.bottom, box.bottom) - std::max(kept.top, box.top);
      const float shared = std::max(width, 0.0f) * std::max(height, 0.0f);
      if (shared > overlap * (Area(kept) + Area(box) - shared)) return true;
    }
    return false;
  }

  Candidate candidates_[kCandidates];
  Detection found_[kMost];
  int size_ = 0;
};

}  // namespace shufflenet

#endif  // SHUFFLENET_DETECTIONS_H_
