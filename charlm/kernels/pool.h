// The kernels' own threads. They wait for work by spinning for a moment and then sleeping.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "waiting.h"

namespace charlm {

using Body = void (*)(void* data);

// Threads that help whoever calls `run`. Nobody waits for one that has not arrived when the work is done.
class Pool {
  public:
    // The pool of this process. It is never destroyed, so that threads may sleep in it while the process ends. A child made
    // by fork has none of its parent's threads, and begins with a pool of its own.
    static Pool& get() {
        Pool* found = place().load();
        if (found) return *found;
        static const int registered = pthread_atfork(nullptr, nullptr, [] { place().store(nullptr); });
        (void)registered;
        auto made = std::make_unique<Pool>();
        return place().compare_exchange_strong(found, made.get()) ? *made.release() : *found;
    }

    // Call body(data) on the calling thread and on up to threads - 1 others at once, and return when all have ended. If the
    // pool is at work already, for another thread or for one of its own, only the calling thread does.
    void run(int threads, Body body, void* data) {
        if (threads < 2 || is_busy_.test_and_set()) return body(data);
        const int wanted = std::min(threads - 1, grow(threads - 1));
        body_ = body;
        data_ = data;
        finished_.set(0);
        seats_.store(wanted);
        for (int number = 0; number < wanted; ++number) workers_[number]->count();
        body(data);
        const unsigned taken = wanted - seats_.exchange(0);
        finished_.wait([&](unsigned finished) { return finished == taken; });
        is_busy_.clear();
    }

  private:
    static std::atomic<Pool*>& place() {
        static std::atomic<Pool*> pool{nullptr};
        return pool;
    }

    // Start threads until there are this many, and return how many there are: fewer where the system allows no more.
    int grow(int count) {
        try {
            while ((int)workers_.size() < count) {
                workers_.reserve(workers_.size() + 1);
                auto calls = std::make_unique<Signal>();
                std::thread([this, own = calls.get()] { work(*own); }).detach();
                workers_.push_back(std::move(calls));
            }
        } catch (const std::system_error&) {
        } catch (const std::bad_alloc&) {
        }
        return (int)workers_.size();
    }

    [[noreturn]] void work(Signal& calls) {
        for (unsigned heard = 0;;) {
            calls.wait([&](unsigned called) { return called != heard; });
            heard = calls.read();
            // A late thread may find the work of a later call, or none. Whoever has a seat is waited for, so that what it
            // reads here stays as it is.
            int seats = seats_.load();
            while (seats > 0 && !seats_.compare_exchange_weak(seats, seats - 1)) {
            }
            if (seats <= 0) continue;
            body_(data_);
            finished_.count();
        }
    }

    std::atomic_flag is_busy_ = ATOMIC_FLAG_INIT;
    Body body_ = nullptr;
    void* data_ = nullptr;
    std::vector<std::unique_ptr<Signal>> workers_;
    alignas(64) std::atomic<int> seats_{0};
    Signal finished_;
};

}  // namespace charlm
