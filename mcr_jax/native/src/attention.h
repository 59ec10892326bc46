// Attention of many small heads: scores live in registers and in a few kilobytes.
//
// One head of one sample is one piece of work. Keys and queries that the masks hide are
// left out before anything is computed. Forward, lanes are queries, so that no sum goes
// across lanes; backward, lanes are keys, and the weights are computed again from the
// peak and the sum of each row. Both compute a score by the same additions in the same
// order, bias first, so that a weight is the same number in both.
//
// Included once by each instruction set, which defines LANES and KERNELS, its name.
#include "kernels.h"
#include "vectors.h"

namespace {

using mcr_jax::Attention;
using mcr_jax::Backward;
using mcr_jax::Forward;

constexpr int GROUP = 4;  // rows whose scores are computed together
constexpr int KEYS = 64;  // keys in a tile of the forward pass
constexpr int ROWS = 512 / L;  // queries in a tile of the backward pass
// Up to so many features, a query's gradient is summed over keys by lanes.
constexpr int64_t FEW = 8;
constexpr float NOWHERE = -1e30f;

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The indices of what is real.
INLINE int64_t collect(const bool* mask, int64_t count, int32_t* places) {
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i)
    if (!mask || mask[i]) places[found++] = int32_t(i);
  return found;
}

// acc[r][v] += <x[r], y[v]> for a group of rows against vectors of columns. D is the
// number of features where it is known while compiling, else 0.
template <int V, int D>
INLINE void products(const float* x, const float* y, int64_t stride, int64_t features,
                     Floats acc[GROUP][V]) {
  int64_t n = D ? D : features;
  for (int64_t d = 0; d < n; ++d) {
    Floats column[V];
    for (int v = 0; v < V; ++v) column[v] = load(y + d * stride + v * L);
    for (int r = 0; r < GROUP; ++r) {
      Floats row = all(x[r * n + d]);
      for (int v = 0; v < V; ++v) acc[r][v] += row * column[v];
    }
  }
}

// to[c] = to[c] * fade + sum_r tile[r] x[r][c] for C features, c.
template <int V, int C, bool FADE>
INLINE void add_chunk(const float* tile, int64_t n, const float* x, int64_t features,
                      float* to, int64_t stride, const Floats* fade) {
  Floats acc[C][V];
  for (int c = 0; c < C; ++c)
    for (int v = 0; v < V; ++v) acc[c][v] = all(0);
  for (int64_t r = 0; r < n; ++r, x += features, tile += V * L) {
    Floats weight[V];
    for (int v = 0; v < V; ++v) weight[v] = load(tile + v * L);
    for (int c = 0; c < C; ++c) {
      Floats feature = all(x[c]);
      for (int v = 0; v < V; ++v) acc[c][v] += weight[v] * feature;
    }
  }
  for (int c = 0; c < C; ++c)
    for (int v = 0; v < V; ++v) {
      float* at = to + c * stride + v * L;
      store(at, FADE ? load(at) * fade[v] + acc[c][v] : load(at) + acc[c][v]);
    }
}

// The same for all features.
template <int V, int E, bool FADE>
INLINE void add(const float* tile, int64_t n, const float* x, int64_t features,
                float* to, int64_t stride, const Floats* fade) {
  if constexpr (E > 0 && E <= CHUNK) {
    add_chunk<V, E, FADE>(tile, n, x, E, to, stride, fade);
  } else {
    int64_t e = 0;
    for (; e + CHUNK <= features; e += CHUNK)
      add_chunk<V, CHUNK, FADE>(tile, n, x + e, features, to + e * stride, stride, fade);
    if (features - e >= 4) {
      add_chunk<V, 4, FADE>(tile, n, x + e, features, to + e * stride, stride, fade);
      e += 4;
    }
    for (; e + 2 <= features; e += 2)
      add_chunk<V, 2, FADE>(tile, n, x + e, features, to + e * stride, stride, fade);
    if (e < features)
      add_chunk<V, 1, FADE>(tile, n, x + e, features, to + e * stride, stride, fade);
  }
}

// ---- forward ---------------------------------------------------------------------

struct ForwardSpace {
  float *key, *value, *shift, *column;  // (keys, D), (keys, E), (keys,), (keys,)
  float *query, *row, *read;            // (D, queries), (queries,), (E, queries)
  float *peak, *total, *tile;

  ForwardSpace(const Attention& a, float* scratch, int64_t* size = nullptr) {
    int64_t keys = rounded(a.keys, GROUP), queries = rounded(a.queries, WIDE * L);
    Space space{scratch};
    key = space.take(keys * a.key_features);
    value = space.take(keys * a.value_features);
    shift = space.take(keys);
    column = space.take(keys);
    query = space.take(queries * a.key_features);
    row = space.take(queries);
    read = space.take(queries * a.value_features);
    peak = space.take(queries);
    total = space.take(queries);
    tile = space.take(KEYS * WIDE * L);
    if (size) *size = space.next - scratch;
  }
};

// What V vectors of queries read, from query i on.
template <int V, int D, bool DROP>
INLINE void read_keys(const Forward& a, const ForwardSpace& s, int64_t keys,
                      int64_t queries, int64_t i, Ints least, float rescale) {
  Floats peak[V], total[V];
  Bits row[V];
  for (int v = 0; v < V; ++v) {
    peak[v] = all(-3e38f), total[v] = all(0);
    if (DROP) row[v] = load_bits((const uint32_t*)s.row + i + v * L);
    for (int64_t e = 0; e < (D ? D : a.value_features); ++e)
      store(s.read + e * queries + i + v * L, all(0));
  }
  for (int64_t j0 = 0; j0 < keys; j0 += KEYS) {
    int64_t n = smaller(KEYS, keys - j0);
    Floats high[V], fade[V], sum[V];
    for (int v = 0; v < V; ++v) high[v] = all(-3e38f);
    for (int64_t j = 0; j < n; j += GROUP) {
      Floats score[GROUP][V];
      for (int r = 0; r < GROUP; ++r)
        for (int v = 0; v < V; ++v) score[r][v] = all(s.shift[j0 + j + r]);
      products<V, D>(s.key + (j0 + j) * (D ? D : a.key_features), s.query + i, queries,
                     a.key_features, score);
      for (int r = 0; r < GROUP; ++r)
        for (int v = 0; v < V; ++v) {
          high[v] = larger(high[v], score[r][v]);
          store(s.tile + ((j + r) * V + v) * L, score[r][v]);
        }
    }
    for (int v = 0; v < V; ++v) {
      high[v] = larger(peak[v], high[v] * all(LOG2E));
      fade[v] = exp2_of(peak[v] - high[v]);
      peak[v] = high[v], sum[v] = all(0);
    }
    for (int64_t j = 0; j < n; ++j)
      for (int v = 0; v < V; ++v) {
        float* at = s.tile + (j * V + v) * L;
        // Rounded once: what the peak's own rounding shifts, the sum shifts as well.
        Floats p = exp2_of(load(at) * all(LOG2E) - peak[v]);
        sum[v] += p;
        if (DROP) {
          uint32_t column;
          std::memcpy(&column, s.column + j0 + j, 4);
          p = where(is_kept(row[v] + all_bits(column), least), p);
        }
        store(at, p);
      }
    for (int v = 0; v < V; ++v) total[v] = total[v] * fade[v] + sum[v];
    add<V, D, true>(s.tile, n, s.value + j0 * (D ? D : a.value_features),
                    a.value_features, s.read + i, queries, fade);
  }
  for (int v = 0; v < V; ++v) {
    Floats factor = all(rescale) / total[v];
    for (int64_t e = 0; e < (D ? D : a.value_features); ++e) {
      float* at = s.read + e * queries + i + v * L;
      store(at, load(at) * factor);
    }
    store(s.peak + i + v * L, peak[v]);
    store(s.total + i + v * L, total[v]);
  }
}

template <int D, bool DROP>
void forward_piece(const Forward& a, int64_t piece, float* scratch, int32_t* places) {
  int64_t b = piece / a.heads, h = piece % a.heads, H = a.heads;
  int64_t De = D ? D : a.key_features, E = D ? D : a.value_features;
  const float* query = a.query + (b * a.queries * H + h) * De;
  const float* key = a.key + (b * a.keys * H + h) * De;
  const float* value = a.value + (b * a.keys * H + h) * E;
  float* read = a.read + (b * a.queries * H + h) * E;
  float* peak = a.peak + piece * a.queries;
  float* total = a.total + piece * a.queries;

  int32_t *real_keys = places, *real_queries = places + a.keys;
  int64_t nk = collect(a.key_mask ? a.key_mask + b * a.keys : nullptr, a.keys, real_keys);
  int64_t nq = collect(a.query_mask ? a.query_mask + b * a.queries : nullptr, a.queries,
                       real_queries);
  if (!nk) nq = 0;
  if (nq < a.queries)
    for (int64_t i = 0; i < a.queries; ++i) {
      for (int64_t e = 0; e < E; ++e) read[i * H * E + e] = 0;
      peak[i] = 0, total[i] = 1;
    }
  if (!nq) return;

  ForwardSpace s(a, scratch);
  int64_t keys = rounded(nk, GROUP), queries = rounded(nq, L);
  for (int64_t j = 0; j < keys; ++j) {
    bool real = j < nk;
    int64_t at = real ? real_keys[j] : 0;
    for (int64_t d = 0; d < De; ++d) s.key[j * De + d] = real ? key[at * H * De + d] : 0;
    for (int64_t e = 0; e < E; ++e) s.value[j * E + e] = real ? value[at * H * E + e] : 0;
    s.shift[j] = !real ? NOWHERE : a.bias ? a.bias[b * a.keys + at] : 0;
    if (DROP) std::memcpy(s.column + j, a.columns + b * a.keys + at, 4);
  }
  for (int64_t i = 0; i < queries; ++i) {
    bool real = i < nq;
    int64_t at = real ? real_queries[i] : 0;
    for (int64_t d = 0; d < De; ++d)
      s.query[d * queries + i] = real ? a.scale * query[at * H * De + d] : 0;
    if (DROP) std::memcpy(s.row + i, a.rows + piece * a.queries + at, 4);
  }
  Ints least = DROP ? int32_t(a.limit[b]) - 1 - (Ints){} : (Ints){};
  float rescale = DROP ? a.rescale[b] : 1.0f;
  int64_t i = 0;
  for (; i + WIDE * L <= queries; i += WIDE * L)
    read_keys<WIDE, D, DROP>(a, s, keys, queries, i, least, rescale);
  for (; i < queries; i += L)
    read_keys<1, D, DROP>(a, s, keys, queries, i, least, rescale);
  for (int64_t i = 0; i < nq; ++i) {
    int64_t at = real_queries[i];
    for (int64_t e = 0; e < E; ++e) read[at * H * E + e] = s.read[e * queries + i];
    peak[at] = s.peak[i], total[at] = s.total[i];
  }
}

// ---- backward --------------------------------------------------------------------

struct BackwardSpace {
  float *key, *value, *d_key, *d_value;  // (features, keys)
  float *shift, *column, *d_bias;        // (keys,)
  float* key_rows;                       // (keys, wide), where features are many
  float *query, *d_read;                 // (ROWS, features)
  float *peak, *drag, *row;              // (ROWS,)
  float *weight, *slope;                 // tiles, (ROWS, WIDE * L)
  float* d_query;                        // (ROWS, D, L), or (ROWS, wide)
  int64_t wide;

  BackwardSpace(const Attention& a, float* scratch, int64_t* size = nullptr) {
    int64_t keys = rounded(a.keys, L), D = a.key_features, E = a.value_features;
    wide = rounded(D, L);
    Space space{scratch};
    key = space.take(keys * D);
    value = space.take(keys * E);
    d_key = space.take(keys * D);
    d_value = space.take(keys * E);
    shift = space.take(keys);
    column = space.take(keys);
    d_bias = space.take(keys);
    key_rows = space.take(D > FEW ? keys * wide : 0);
    query = space.take(ROWS * D);
    d_read = space.take(ROWS * E);
    peak = space.take(ROWS);
    drag = space.take(ROWS);
    row = space.take(ROWS);
    weight = space.take(ROWS * WIDE * L);
    slope = space.take(ROWS * WIDE * L);
    d_query = space.take(ROWS * (D > FEW ? wide : D * L) + L * L);
    if (size) *size = space.next - scratch;
  }
};

// d_query[r][d] (lanes apart) += slope[r] * key[d].
template <int V, int D>
INLINE void add_by_lanes(const BackwardSpace& s, int64_t n, const float* key,
                         int64_t stride, int64_t features) {
  int64_t De = D ? D : features;
  for (int64_t r = 0; r < n; ++r) {
    Floats slope[V];
    for (int v = 0; v < V; ++v) slope[v] = load(s.slope + (r * V + v) * L);
    for (int64_t d = 0; d < De; ++d) {
      float* at = s.d_query + (r * De + d) * L;
      Floats sum = load(at);
      for (int v = 0; v < V; ++v) sum += slope[v] * load(key + d * stride + v * L);
      store(at, sum);
    }
  }
}

// The same with lanes for features, F vectors of them.
template <int V, int F>
INLINE void add_by_features(const BackwardSpace& s, int64_t n, const float* keys,
                            float* to) {
  for (int64_t r = 0; r < n; r += GROUP) {
    Floats acc[GROUP][F];
    for (int g = 0; g < GROUP; ++g)
      for (int f = 0; f < F; ++f) acc[g][f] = all(0);
    for (int j = 0; j < V * L; ++j) {
      Floats key[F];
      for (int f = 0; f < F; ++f) key[f] = load(keys + j * s.wide + f * L);
      for (int g = 0; g < GROUP; ++g) {
        Floats slope = all(s.slope[(r + g) * V * L + j]);
        for (int f = 0; f < F; ++f) acc[g][f] += slope * key[f];
      }
    }
    for (int g = 0; g < GROUP; ++g)
      for (int f = 0; f < F; ++f) {
        float* at = to + (r + g) * s.wide + f * L;
        store(at, load(at) + acc[g][f]);
      }
  }
}

// V vectors of keys, from key c on, against n queries of a tile.
template <int V, int D, bool DROP>
INLINE void block(const Backward& a, const BackwardSpace& s, int64_t n, int64_t keys,
                  int64_t c, Ints least) {
  int64_t De = D ? D : a.key_features, E = D ? D : a.value_features;
  Floats shift[V];
  Bits column[V];
  for (int v = 0; v < V; ++v) {
    shift[v] = load(s.shift + c + v * L);
    if (DROP) column[v] = load_bits((const uint32_t*)s.column + c + v * L);
  }
  for (int64_t r = 0; r < n; r += GROUP) {
    Floats score[GROUP][V], slope[GROUP][V];
    for (int g = 0; g < GROUP; ++g)
      for (int v = 0; v < V; ++v) score[g][v] = shift[v], slope[g][v] = all(0);
    products<V, D>(s.query + r * De, s.key + c, keys, De, score);
    for (int g = 0; g < GROUP; ++g)
      for (int v = 0; v < V; ++v)
        store(s.weight + ((r + g) * V + v) * L,
              exp2_of(score[g][v] * all(LOG2E) - all(s.peak[r + g])));
    products<V, D>(s.d_read + r * E, s.value + c, keys, E, slope);
    for (int g = 0; g < GROUP; ++g)
      for (int v = 0; v < V; ++v) {
        float* at = s.weight + ((r + g) * V + v) * L;
        Floats p = load(at), ds = slope[g][v];
        if (DROP) {
          uint32_t row;
          std::memcpy(&row, s.row + r + g, 4);
          Ints kept = is_kept(column[v] + all_bits(row), least);
          ds = where(kept, ds);
          store(at, where(kept, p));
        }
        store(s.slope + ((r + g) * V + v) * L, p * (ds - all(s.drag[r + g])));
      }
  }
  add<V, D, false>(s.weight, n, s.d_read, E, s.d_value + c, keys, nullptr);
  add<V, D, false>(s.slope, n, s.query, De, s.d_key + c, keys, nullptr);
  if (a.d_bias)
    for (int v = 0; v < V; ++v) {
      Floats sum = load(s.d_bias + c + v * L);
      for (int64_t r = 0; r < n; ++r) sum += load(s.slope + (r * V + v) * L);
      store(s.d_bias + c + v * L, sum);
    }
  if ((D && D <= FEW) || De <= FEW) {
    add_by_lanes<V, D>(s, n, s.key + c, keys, De);
  } else {
    int64_t f = 0;
    for (; f + 2 * L <= s.wide; f += 2 * L)
      add_by_features<V, 2>(s, n, s.key_rows + c * s.wide + f, s.d_query + f);
    if (f < s.wide)
      add_by_features<V, 1>(s, n, s.key_rows + c * s.wide + f, s.d_query + f);
  }
}

template <int D, bool DROP>
void backward_piece(const Backward& a, int64_t piece, float* scratch, int32_t* places) {
  int64_t b = piece / a.heads, h = piece % a.heads, H = a.heads;
  int64_t De = D ? D : a.key_features, E = D ? D : a.value_features;
  int64_t by_query = b * a.queries * H + h, by_key = b * a.keys * H + h;
  const float *query = a.query + by_query * De, *key = a.key + by_key * De;
  const float *value = a.value + by_key * E, *read = a.read + by_query * E;
  const float* d_read = a.d_read + by_query * E;
  float *d_query = a.d_query + by_query * De, *d_key = a.d_key + by_key * De;
  float *d_value = a.d_value + by_key * E;
  float* d_bias = a.d_bias ? a.d_bias + piece * a.keys : nullptr;

  int32_t *real_keys = places, *real_queries = places + a.keys;
  int64_t nk = collect(a.key_mask ? a.key_mask + b * a.keys : nullptr, a.keys, real_keys);
  int64_t nq = collect(a.query_mask ? a.query_mask + b * a.queries : nullptr, a.queries,
                       real_queries);
  bool none = !nk || !nq;
  if (none || nq < a.queries)
    for (int64_t i = 0; i < a.queries; ++i)
      for (int64_t d = 0; d < De; ++d) d_query[i * H * De + d] = 0;
  if (none || nk < a.keys)
    for (int64_t j = 0; j < a.keys; ++j) {
      for (int64_t d = 0; d < De; ++d) d_key[j * H * De + d] = 0;
      for (int64_t e = 0; e < E; ++e) d_value[j * H * E + e] = 0;
      if (d_bias) d_bias[j] = 0;
    }
  if (none) return;

  BackwardSpace s(a, scratch);
  int64_t keys = rounded(nk, L);
  bool many = De > FEW;
  std::memset(s.d_key, 0, keys * De * sizeof(float));
  std::memset(s.d_value, 0, keys * E * sizeof(float));
  std::memset(s.d_bias, 0, keys * sizeof(float));
  for (int64_t j = 0; j < keys; ++j) {
    bool real = j < nk;
    int64_t at = real ? real_keys[j] : 0;
    for (int64_t d = 0; d < De; ++d) {
      float x = real ? key[at * H * De + d] : 0;
      s.key[d * keys + j] = x;
      if (many) s.key_rows[j * s.wide + d] = x;
    }
    if (many)
      for (int64_t d = De; d < s.wide; ++d) s.key_rows[j * s.wide + d] = 0;
    for (int64_t e = 0; e < E; ++e)
      s.value[e * keys + j] = real ? value[at * H * E + e] : 0;
    s.shift[j] = !real ? NOWHERE : a.bias ? a.bias[b * a.keys + at] : 0;
    if (DROP) std::memcpy(s.column + j, a.columns + b * a.keys + at, 4);
  }
  Ints least = DROP ? int32_t(a.limit[b]) - 1 - (Ints){} : (Ints){};
  float rescale = DROP ? a.rescale[b] : 1.0f;
  for (int64_t i0 = 0; i0 < nq; i0 += ROWS) {
    int64_t real = smaller(ROWS, nq - i0), n = rounded(real, GROUP);
    for (int64_t r = 0; r < n; ++r) {
      bool there = r < real;
      int64_t at = there ? real_queries[i0 + r] : 0;
      // Dividing by the row's sum happens to what is small: the gradient of what was
      // read. A row of padding has no weight.
      float share = there ? 1.0f / a.total[piece * a.queries + at] : 0, drag = 0;
      for (int64_t d = 0; d < De; ++d)
        s.query[r * De + d] = there ? a.scale * query[at * H * De + d] : 0;
      for (int64_t e = 0; e < E; ++e) {
        float x = there ? d_read[at * H * E + e] : 0;
        if (there) drag += x * read[at * H * E + e];
        s.d_read[r * E + e] = rescale * share * x;
      }
      s.drag[r] = drag * share;
      s.peak[r] = there ? a.peak[piece * a.queries + at] : -NOWHERE;
      if (DROP) std::memcpy(s.row + r, a.rows + piece * a.queries + at, 4);
    }
    std::memset(s.d_query, 0, n * (many ? s.wide : De * L) * sizeof(float));
    int64_t c = 0;
    for (; c + WIDE * L <= keys; c += WIDE * L)
      block<WIDE, D, DROP>(a, s, n, keys, c, least);
    for (; c < keys; c += L) block<1, D, DROP>(a, s, n, keys, c, least);
    if (many) {
      for (int64_t r = 0; r < real; ++r)
        for (int64_t d = 0; d < De; ++d)
          d_query[real_queries[i0 + r] * H * De + d] = a.scale * s.d_query[r * s.wide + d];
    } else {
      // In place: L sums are written where the first of their vectors stood.
      for (int64_t x = 0; x < real * De; x += L)
        store(s.d_query + x, sums_of(s.d_query + x * L));
      for (int64_t r = 0; r < real; ++r)
        for (int64_t d = 0; d < De; ++d)
          d_query[real_queries[i0 + r] * H * De + d] = a.scale * s.d_query[r * De + d];
    }
  }
  for (int64_t j = 0; j < nk; ++j) {
    int64_t at = real_keys[j];
    for (int64_t d = 0; d < De; ++d) d_key[at * H * De + d] = s.d_key[d * keys + j];
    for (int64_t e = 0; e < E; ++e) d_value[at * H * E + e] = s.d_value[e * keys + j];
    if (d_bias) d_bias[at] = s.d_bias[j];
  }
}

// ---- the table -------------------------------------------------------------------

int64_t forward_floats(const Attention& a) {
  int64_t size;
  ForwardSpace(a, nullptr, &size);
  return size;
}

int64_t backward_floats(const Attention& a) {
  int64_t size;
  BackwardSpace(a, nullptr, &size);
  return size;
}

// Head sizes that are compiled for themselves: those of the models' configs.
#define BY_SIZE(run)                                             \
  int64_t D = a.key_features == a.value_features ? a.key_features : 0; \
  switch (D) {                                                   \
    case 4: return a.drop ? run<4, true>(a, piece, scratch, places)    \
                          : run<4, false>(a, piece, scratch, places);  \
    case 5: return a.drop ? run<5, true>(a, piece, scratch, places)    \
                          : run<5, false>(a, piece, scratch, places);  \
    case 6: return a.drop ? run<6, true>(a, piece, scratch, places)    \
                          : run<6, false>(a, piece, scratch, places);  \
    default: return a.drop ? run<0, true>(a, piece, scratch, places)   \
                           : run<0, false>(a, piece, scratch, places); \
  }

void forward(const Forward& a, int64_t piece, float* scratch, int32_t* places) {
  BY_SIZE(forward_piece)
}

void backward(const Backward& a, int64_t piece, float* scratch, int32_t* places) {
  BY_SIZE(backward_piece)
}
#undef BY_SIZE

}  // namespace

#define MCR_TEXT(x) #x
#define MCR_NAME(x) MCR_TEXT(x)
namespace mcr_jax {
extern const Kernels KERNELS;
const Kernels KERNELS = {MCR_NAME(KERNELS), forward_floats, forward, backward_floats,
                         backward};
}  // namespace mcr_jax
