// Pieces of work on a pool of threads.
#ifndef MCR_JAX_NATIVE_SPREAD_H_
#define MCR_JAX_NATIVE_SPREAD_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace mcr_jax {

// Memory of one thread, which keeps it from call to call.
struct Scratch {
  std::vector<float> data;
  std::vector<int32_t> places;
  float* floats(int64_t count) {
#ifdef MCR_JAX_FRESH_SCRATCH  // for the sanitizers: nothing after the last element
    std::vector<float>().swap(data);
#endif
    if (int64_t(data.size()) < count + 16) data.resize(count + 16);
    auto address = reinterpret_cast<uintptr_t>(data.data());
    return reinterpret_cast<float*>((address + 63) & ~uintptr_t(63));
  }
};
inline thread_local Scratch scratch;

// Runs pieces on a pool that has `num_threads()` and `Schedule(function)`. The caller
// takes part and waits only for pieces that have begun, so that a pool whose threads are
// all busy, or all wait here, goes on.
template <typename Pool, typename Run>
void spread(Pool& pool, int64_t pieces, const Run& run) {
  int64_t helpers = std::min<int64_t>(pool.num_threads(), pieces) - 1;
  if (helpers <= 0) {
    for (int64_t i = 0; i < pieces; ++i) run(i);
    return;
  }
  struct Shared {
    std::atomic<int64_t> next{0}, done{0};
    std::mutex lock;
    std::condition_variable ended;
  };
  auto shared = std::make_shared<Shared>();
  const Run* body = &run;  // alive until every piece is done
  auto work = [shared, body, pieces] {
    int64_t mine = 0;
    for (int64_t i; (i = shared->next.fetch_add(1)) < pieces; ++mine) (*body)(i);
    if (mine && shared->done.fetch_add(mine) + mine == pieces) {
      std::lock_guard<std::mutex> hold(shared->lock);
      shared->ended.notify_all();
    }
  };
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(decltype(work)(work));
  work();
  for (int i = 0; i < 2000 && shared->done.load() < pieces; ++i) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  std::unique_lock<std::mutex> hold(shared->lock);
  shared->ended.wait(hold, [&] { return shared->done.load() == pieces; });
}

// All heads of all samples: `run` is a kernel and `size` counts its scratch memory.
template <typename Pool, typename Arguments, typename Size, typename Run>
void compute(Pool& pool, const Arguments& a, Size size, Run run) {
  int64_t floats = size(a);
  spread(pool, a.samples * a.heads, [&](int64_t piece) {
    size_t steps = size_t(a.queries + a.keys);
    if (scratch.places.size() < steps) scratch.places.resize(steps);
    run(a, piece, scratch.floats(floats), scratch.places.data());
  });
}

}  // namespace mcr_jax

#endif  // MCR_JAX_NATIVE_SPREAD_H_
