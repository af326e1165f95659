// Threads that compute one step together and wait for each other.
#pragma once

#include "threads.h"

namespace charlm {

// The threads that have really arrived, and a barrier at which they wait for each other.
class Team {
  public:
    explicit Team(int wanted) : wanted_(wanted) {}

    // Return the caller's number, or -1 if it is too late: the first to arrive waits for the others for a moment only.
    int join() {
        const int number = arrived_.fetch_add(1);
        if (number >= CLOSED) return -1;
        if (number == 0) {
            spin_until([&] { return arrived_.load() >= wanted_; });
            size_.set(arrived_.fetch_add(CLOSED));
        } else {
            size_.wait([](unsigned size) { return size != 0; });
        }
        return number;
    }
    int size() const { return (int)size_.read(); }

    void meet() {
        if (size() == 1) return;
        const unsigned round = round_.read();
        if (waiting_.fetch_add(1) + 1 == size()) {
            waiting_.store(0);
            round_.set(round + 1);
            return;
        }
        round_.wait([&](unsigned now) { return now != round; });
    }

  private:
    static constexpr int CLOSED = 1 << 20;

    int wanted_;
    std::atomic<int> arrived_{0};
    Signal size_, round_;
    alignas(64) std::atomic<int> waiting_{0};
};

// The panels, of units and of the vocabulary, that a thread computes.
struct Share {
    int number, of;
    Slice panels(long count) const { return Slice(count, number, of); }
};

}  // namespace charlm
