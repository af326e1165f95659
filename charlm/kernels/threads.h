// Sharing work among threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <new>

#include "pool.h"

namespace charlm {

// Who calls a body on several threads at once instead of the pool, with the signature of GOMP_parallel; null for the pool.
using ParallelEntry = void (*)(Body body, void* data, unsigned num_threads, unsigned flags);

inline ParallelEntry& parallel_entry() {
    static ParallelEntry entry = nullptr;
    return entry;
}

// Call work() on this many threads at once, including the calling one, or on fewer if fewer arrive.
// Throw std::bad_alloc if any of them did: an exception must not leave the body that another thread runs.
template <class Work> void on_each_thread(int threads, const Work& work) {
    struct Shared {
        const Work* work;
        std::atomic<bool> is_out_of_memory{false};
    } shared{&work, {}};
    const auto body = [](void* data) {
        auto* all = static_cast<Shared*>(data);
        try {
            (*all->work)();
        } catch (const std::bad_alloc&) {
            all->is_out_of_memory = true;
        }
    };
    if (threads > 1 && parallel_entry())
        parallel_entry()(body, &shared, (unsigned)threads, 0);
    else
        Pool::get().run(threads, body, &shared);
    if (shared.is_out_of_memory) throw std::bad_alloc();
}

// Call work(0), ..., work(parts - 1), each once. The number of threads that arrive only affects the speed.
template <class Work> void in_parallel(int parts, const Work& work) {
    std::atomic<int> next{0};
    on_each_thread(parts, [&] {
        for (int part; (part = next.fetch_add(1, std::memory_order_relaxed)) < parts;) work(part);
    });
}

// Call run; return 1 if memory ran out, else 0.
template <class Run> int run_call(const Run& run) {
    try {
        run();
    } catch (const std::bad_alloc&) {
        return 1;
    }
    return 0;
}

// The share of `count` rows that belongs to a part; the sizes of the parts differ by one at most.
struct Slice {
    long begin, end;
    Slice(long count, int part, int parts) : begin(count * part / parts), end(count * (part + 1) / parts) {}
};

}  // namespace charlm
