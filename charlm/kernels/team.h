// Threads that compute one step together and wait for each other.
#pragma once

#include <sched.h>

#include <atomic>

#include "threads.h"

namespace charlm {

// The threads that have really arrived, and a barrier at which they wait for each other.
class Team {
  public:
    explicit Team(int wanted) : wanted_(wanted) {}

    // Return the caller's number, or -1 if it is too late. An OpenMP runtime may send fewer threads than it was asked for.
    int join() {
        const int number = arrived_.fetch_add(1);
        if (number >= CLOSED) return -1;
        if (number == 0) {
            for (int spin = 0; spin < PATIENCE && arrived_.load() < wanted_; ++spin) pause(spin);
            size_.store(arrived_.fetch_add(CLOSED));
        }
        for (int spin = 0; size_.load() == 0; ++spin) pause(spin);
        return number;
    }
    int size() const { return size_.load(std::memory_order_relaxed); }

    void meet() {
        if (size() == 1) return;
        const unsigned round = round_.load(std::memory_order_relaxed);
        if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == size()) {
            waiting_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int spin = 0; round_.load(std::memory_order_acquire) == round; ++spin) pause(spin);
    }

  private:
    static constexpr int CLOSED = 1 << 20, PATIENCE = 1 << 14;
    // Leave the core to what else runs on it while this thread spins.
    static void relax() {
#if defined(__aarch64__)
        asm volatile("yield");
#else
        __builtin_ia32_pause();
#endif
    }
    static void pause(int spin) {
        // Another process may be waiting for this core.
        if (spin % 1024 == 1023)
            sched_yield();
        else
            relax();
    }

    int wanted_;
    std::atomic<int> arrived_{0}, size_{0};
    alignas(64) std::atomic<int> waiting_{0};
    alignas(64) std::atomic<unsigned> round_{0};
};

// The panels, of units and of the vocabulary, that a thread computes.
struct Share {
    int number, of;
    Slice panels(long count) const { return Slice(count, number, of); }
};

}  // namespace charlm
