// Kernels of every instruction set that runs here against plain loops in double
// precision: random shapes, masks, biases and dropout; values and all gradients, by one
// thread and by several. `bin/native_check` runs it under the sanitizers.
//
//   fuzz [cases] [seed]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "../../mcr_jax/native/src/kernels.h"
#include "../../mcr_jax/native/src/spread.h"

using namespace mcr_jax;
typedef std::vector<float> Numbers;
typedef std::vector<double> Exact;

// As many threads as asked for; waits for the late ones at its end.
struct Threads {
  int count;
  std::vector<std::thread> running;
  int64_t num_threads() const { return count; }
  template <typename F>
  void Schedule(F&& f) {
    running.emplace_back(std::forward<F>(f));
  }
  ~Threads() {
    for (auto& thread : running) thread.join();
  }
};

struct Case {
  int64_t B, Q, K, H, D, E;
  Numbers query, key, value, bias, d_read;
  std::vector<uint32_t> rows, columns, limit;
  Numbers rescale;
  std::vector<char> query_mask, key_mask;
  bool masked, biased, drop;
  float scale, spread;
};

static uint32_t finalise(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7A3D98E5u;
  return (x ^ (x >> 15)) * 0xC4D6A3B7u;
}

static Case draw(std::mt19937& random) {
  auto upto = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  Case c{};
  c.B = upto(1, 3), c.H = upto(1, 3);
  c.Q = upto(0, 3) ? upto(1, 40) : upto(60, 140);
  c.K = upto(0, 3) ? upto(1, 40) : upto(60, 140);
  c.D = upto(0, 2) ? upto(4, 6) : upto(1, 64);
  c.E = upto(0, 3) ? c.D : upto(1, 64);
  c.masked = upto(0, 1), c.biased = upto(0, 1), c.drop = upto(0, 1);
  c.scale = 1.0f / std::sqrt(float(c.D));
  c.spread = upto(0, 4) ? 1.0f : 4.0f;
  std::normal_distribution<float> normal(0, c.spread);
  auto fill = [&](int64_t n) {
    Numbers x(n);
    for (float& y : x) y = normal(random);
    return x;
  };
  c.query = fill(c.B * c.Q * c.H * c.D), c.key = fill(c.B * c.K * c.H * c.D);
  c.value = fill(c.B * c.K * c.H * c.E), c.d_read = fill(c.B * c.Q * c.H * c.E);
  c.bias = fill(c.B * c.K);
  c.rows.resize(c.B * c.H * c.Q), c.columns.resize(c.B * c.K);
  for (auto& x : c.rows) x = random();
  for (auto& x : c.columns) x = random();
  float rate = upto(0, 9) / 10.0f;
  c.limit.assign(c.B, uint32_t(rate * (1 << 24)));
  c.rescale.assign(c.B, 1 / (1 - rate));
  c.query_mask.resize(c.B * c.Q), c.key_mask.resize(c.B * c.K);
  int64_t real = upto(0, 10);
  for (auto& x : c.query_mask) x = upto(0, 9) < real;
  for (auto& x : c.key_mask) x = upto(0, 9) < real;
  // What a mask hides must never be looked at.
  float nan = std::numeric_limits<float>::quiet_NaN();
  if (c.masked) {
    for (int64_t i = 0; i < c.B * c.K; ++i)
      if (!c.key_mask[i]) {
        for (int64_t x = 0; x < c.H * c.D; ++x) c.key[i * c.H * c.D + x] = nan;
        for (int64_t x = 0; x < c.H * c.E; ++x) c.value[i * c.H * c.E + x] = nan;
        c.bias[i] = nan;
      }
    for (int64_t i = 0; i < c.B * c.Q; ++i)
      if (!c.query_mask[i]) {
        for (int64_t x = 0; x < c.H * c.D; ++x) c.query[i * c.H * c.D + x] = nan;
        for (int64_t x = 0; x < c.H * c.E; ++x) c.d_read[i * c.H * c.E + x] = nan;
      }
  }
  return c;
}

struct Answer {
  Exact read, d_query, d_key, d_value, d_bias;
};

static Answer expected(const Case& c) {
  Answer a;
  a.read.resize(c.d_read.size()), a.d_query.resize(c.query.size());
  a.d_key.resize(c.key.size()), a.d_value.resize(c.value.size());
  a.d_bias.resize(c.B * c.H * c.K);
  for (int64_t b = 0; b < c.B; ++b)
    for (int64_t h = 0; h < c.H; ++h)
      for (int64_t i = 0; i < c.Q; ++i) {
        if (c.masked && !c.query_mask[b * c.Q + i]) continue;
        int64_t q = ((b * c.Q + i) * c.H + h) * c.D, o = ((b * c.Q + i) * c.H + h) * c.E;
        std::vector<int64_t> real;
        Exact weight;
        double peak = -1e300, total = 0;
        for (int64_t j = 0; j < c.K; ++j) {
          if (c.masked && !c.key_mask[b * c.K + j]) continue;
          int64_t k = ((b * c.K + j) * c.H + h) * c.D;
          double score = c.biased ? c.bias[b * c.K + j] : 0;
          for (int64_t d = 0; d < c.D; ++d)
            score += double(c.scale) * c.query[q + d] * c.key[k + d];
          real.push_back(j), weight.push_back(score), peak = std::max(peak, score);
        }
        for (double& w : weight) total += w = std::exp(w - peak);
        auto kept = [&](int64_t j) -> double {
          if (!c.drop) return 1;
          uint32_t bits =
              finalise(c.rows[(b * c.H + h) * c.Q + i] + c.columns[b * c.K + j]);
          return (bits >> 8) >= c.limit[b] ? c.rescale[b] : 0;
        };
        double delta = 0;
        for (size_t n = 0; n < real.size(); ++n) {
          int64_t v = ((b * c.K + real[n]) * c.H + h) * c.E;
          for (int64_t e = 0; e < c.E; ++e) {
            double x = kept(real[n]) * weight[n] / total;
            a.read[o + e] += x * c.value[v + e];
            a.d_value[v + e] += x * c.d_read[o + e];
          }
        }
        for (int64_t e = 0; e < c.E; ++e) delta += a.read[o + e] * c.d_read[o + e];
        for (size_t n = 0; n < real.size(); ++n) {
          int64_t at = (b * c.K + real[n]) * c.H + h;
          double slope = 0;
          for (int64_t e = 0; e < c.E; ++e)
            slope += double(c.d_read[o + e]) * c.value[at * c.E + e];
          slope = weight[n] / total * (kept(real[n]) * slope - delta);
          for (int64_t d = 0; d < c.D; ++d) {
            a.d_query[q + d] += slope * c.scale * c.key[at * c.D + d];
            a.d_key[at * c.D + d] += slope * c.scale * c.query[q + d];
          }
          a.d_bias[(b * c.H + h) * c.K + real[n]] += slope;
        }
      }
  return a;
}

struct Found {
  Numbers read, peak, total, d_query, d_key, d_value, d_bias;
};

static Found run(const Kernels& kernels, const Case& c, int threads) {
  Found f;
  // What a kernel leaves out stays this, which is wrong everywhere.
  auto room = [](Numbers& x, size_t n) { x.assign(n, 12345.0f); };
  room(f.read, c.d_read.size()), room(f.d_query, c.query.size());
  room(f.d_key, c.key.size()), room(f.d_value, c.value.size());
  room(f.d_bias, c.B * c.H * c.K);
  room(f.peak, c.B * c.H * c.Q), room(f.total, c.B * c.H * c.Q);
  Attention a{c.B, c.Q, c.K, c.H, c.D, c.E, c.query.data(), c.key.data(), c.value.data(),
              c.masked ? (const bool*)c.query_mask.data() : nullptr,
              c.masked ? (const bool*)c.key_mask.data() : nullptr,
              c.biased ? c.bias.data() : nullptr, c.rows.data(), c.columns.data(),
              c.limit.data(), c.rescale.data(), c.drop, c.scale};
  Forward forward{a, f.read.data(), f.peak.data(), f.total.data()};
  Backward backward{a, f.read.data(), f.peak.data(), f.total.data(), c.d_read.data(),
                    f.d_query.data(), f.d_key.data(), f.d_value.data(),
                    c.biased ? f.d_bias.data() : nullptr};
  Threads pool{threads, {}};
  compute(pool, forward, kernels.forward_floats, kernels.forward);
  compute(pool, backward, kernels.backward_floats, kernels.backward);
  return f;
}

// The largest error over the largest number; over `size` where that is larger, because a
// gradient that cancels is as wrong as its terms.
static double wrong(const Numbers& found, const Exact& right, double size) {
  double most = 0;
  for (size_t i = 0; i < right.size(); ++i) {
    size = std::max(size, std::fabs(right[i]));
    double by = std::fabs(found[i] - right[i]);
    if (!(by <= most)) most = by;  // NaN counts
  }
  return most / size;
}

int main(int argc, char** argv) {
  int cases = argc > 1 ? std::atoi(argv[1]) : 200;
  std::mt19937 random(argc > 2 ? std::atoi(argv[2]) : 0);
  std::vector<const Kernels*> sets = {&portable};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    sets.push_back(&avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
    sets.push_back(&avx512);
#endif
  std::vector<double> worst(sets.size());
  for (int n = 0; n < cases; ++n) {
    Case c = draw(random);
    Answer right = expected(c);
    for (size_t s = 0; s < sets.size(); ++s) {
      Found one = run(*sets[s], c, 1), several = run(*sets[s], c, 3);
      double most = 0;
      auto compare = [&](const Numbers& a, const Numbers& b, const Exact& exact) {
        most = std::max(most, wrong(a, exact, c.spread * c.spread));
        if (a != b) {
          std::printf("%s, case %d: threads change the result\n", sets[s]->name, n);
          std::exit(1);
        }
      };
      compare(one.read, several.read, right.read);
      compare(one.d_query, several.d_query, right.d_query);
      compare(one.d_key, several.d_key, right.d_key);
      compare(one.d_value, several.d_value, right.d_value);
      if (c.biased) compare(one.d_bias, several.d_bias, right.d_bias);
      worst[s] = std::max(worst[s], most);
      if (!(most < 2e-5)) {
        std::printf("%s, case %d (B %d Q %d K %d H %d D %d E %d): wrong by %.2g\n",
                    sets[s]->name, n, int(c.B), int(c.Q), int(c.K), int(c.H), int(c.D),
                    int(c.E), most);
        return 1;
      }
    }
  }
  for (size_t s = 0; s < sets.size(); ++s)
    std::printf("%s: %d cases, largest error %.1e\n", sets[s]->name, cases, worst[s]);
  return 0;
}
