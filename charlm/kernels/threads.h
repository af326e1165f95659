// Work shared out over the threads that torch has already started.
//
// Two pools of OpenMP threads spin against each other, so there is only ever torch's: its entry point is handed over once
// by address, and without it everything runs on the calling thread.
#pragma once

#include <atomic>
#include <new>

namespace charlm {

using ParallelEntry = void (*)(void (*body)(void*), void* data, unsigned num_threads, unsigned flags);  // GOMP_parallel

inline ParallelEntry& parallel_entry() {
    static ParallelEntry entry = nullptr;
    return entry;
}

// Call work() on so many threads at once, the calling one among them, or on fewer where the runtime sends fewer.
// Throws std::bad_alloc where any of them did: an exception may not leave another thread's loop.
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
        body(&shared);
    if (shared.is_out_of_memory) throw std::bad_alloc();
}

// Call work(0), ..., work(parts - 1), each once. How many threads come makes no difference but speed.
template <class Work> void in_parallel(int parts, const Work& work) {
    std::atomic<int> next{0};
    on_each_thread(parts, [&] {
        for (int part; (part = next.fetch_add(1, std::memory_order_relaxed)) < parts;) work(part);
    });
}

// Which of `count` rows belong to a part: the sizes differ by one at most.
struct Slice {
    long begin, end;
    Slice(long count, int part, int parts) : begin(count * part / parts), end(count * (part + 1) / parts) {}
};

}  // namespace charlm
