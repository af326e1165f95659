// From logits to a character: the filters, and the inverse of the distribution function at a uniform number. The filters
// are those of charlm/generation/filters.py, in the same order.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "vectors.h"
#include "writing.h"

namespace charlm {

class Drawing {
  public:
    Drawing(const CharlmWriting& writing, Index num_characters) : writing_(writing), size_(num_characters), order_(size_) {}

    // Return the character that a row's logits give at a uniform number. This overwrites the logits and their padding.
    Index draw(float* logits, double uniform) {
        const Index likeliest = std::max_element(logits, logits + size_) - logits;
        if (writing_.temperature == 0.0) return likeliest;
        weigh(logits, logits[likeliest]);
        if (writing_.top_k > 0 && writing_.top_k < size_) keep_likeliest(logits);
        if (writing_.top_p < 1.0) keep_nucleus(logits);
        if (writing_.min_p > 0.0) {
            const double floor = writing_.min_p * *std::max_element(logits, logits + size_);
            for (Index id = 0; id < size_; ++id)
                if (logits[id] < floor) logits[id] = 0.0f;
        }
        const double target = uniform * std::accumulate(logits, logits + size_, 0.0);
        double below = 0.0;
        for (Index id = 0; id < size_; ++id) {
            below += logits[id];
            if (below > target) return id;
        }
        return size_ - 1;
    }

  private:
    // Turn logits into probabilities up to a common factor: exp((logit - largest) / temperature).
    void weigh(float* logits, float largest) const {
        const Vec top = all(largest), sharpness = all((float)std::min(1.0 / writing_.temperature, 1e30));
        for (Index id = 0; id < size_; id += WIDTH) store(logits + id, exponential((load(logits + id) - top) * sharpness));
    }

    void keep_likeliest(float* weights) {
        sort(weights);
        for (Index place = writing_.top_k; place < size_; ++place) weights[order_[place]] = 0.0f;
    }

    void keep_nucleus(float* weights) {
        sort(weights);
        const double limit = writing_.top_p * std::accumulate(weights, weights + size_, 0.0);
        double before = 0.0;
        for (Index id : order_) {
            const double weight = weights[id];
            if (before >= limit) weights[id] = 0.0f;
            before += weight;
        }
    }

    // Put the likeliest first; among equals, keep the order.
    void sort(const float* weights) {
        std::iota(order_.begin(), order_.end(), 0);
        std::stable_sort(order_.begin(), order_.end(), [&](Index a, Index b) { return weights[a] > weights[b]; });
    }

    const CharlmWriting& writing_;
    Index size_;
    std::vector<Index> order_;
};

}  // namespace charlm
