// Waiting for other threads: spin for a moment, and then sleep, so that whoever has work gets the core.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace charlm {

// Long enough for the pauses between two calls of a step, so that its threads rarely sleep; short compared with the
// milliseconds for which a system gives a core to another process.
constexpr std::chrono::microseconds PATIENCE{100};

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    asm volatile("yield");
#endif
}

// Ask again and again for a moment whether something is done, and return whether it is.
template <class IsDone> bool spin_until(const IsDone& is_done) {
    constexpr int TURNS = 64;  // between two looks at the clock
    std::chrono::steady_clock::time_point end{};
    while (true) {
        for (int turn = 0; turn < TURNS; ++turn) {
            if (is_done()) return true;
            pause();
        }
        const auto now = std::chrono::steady_clock::now();
        if (end == std::chrono::steady_clock::time_point{})
            end = now + PATIENCE;
        else if (now >= end)
            return false;
    }
}

// A number that one thread changes and others wait for.
class alignas(64) Signal {
  public:
    unsigned read() const { return value_.load(); }

    void set(unsigned value) {
        value_.store(value);
        wake();
    }

    void count() {
        value_.fetch_add(1);
        wake();
    }

    template <class IsRight> void wait(const IsRight& is_right) {
        const auto is_done = [&] { return is_right(value_.load()); };
        if (spin_until(is_done)) return;
        std::unique_lock<std::mutex> lock(mutex_);
        // Announce the sleep first: whoever changes the number after this looks for sleepers, and whoever has changed it
        // before is seen here. Both rely on the order of sequentially consistent operations.
        sleepers_.fetch_add(1);
        awake_.wait(lock, is_done);
        sleepers_.fetch_sub(1);
    }

  private:
    void wake() {
        if (sleepers_.load() == 0) return;
        // With the lock, no sleeper can be between its last look and its sleep.
        const std::lock_guard<std::mutex> lock(mutex_);
        awake_.notify_all();
    }

    std::atomic<unsigned> value_{0};
    std::atomic<int> sleepers_{0};
    std::mutex mutex_;
    std::condition_variable awake_;
};

}  // namespace charlm
