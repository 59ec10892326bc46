// What the kernels of every instruction set share: their arguments and their table.
//
// Arrays are row-major, samples first; all leading axes are samples. A mask is null
// where every step is real, a bias is null where there is none.
#ifndef MCR_JAX_NATIVE_KERNELS_H_
#define MCR_JAX_NATIVE_KERNELS_H_

#include <cstdint>

namespace mcr_jax {

struct Attention {
  int64_t samples, queries, keys, heads;
  int64_t key_features, value_features;
  const float* query;       // (samples, queries, heads, key_features)
  const float* key;         // (samples, keys, heads, key_features)
  const float* value;       // (samples, keys, heads, value_features)
  const bool* query_mask;   // (samples, queries) or null
  const bool* key_mask;     // (samples, keys) or null
  const float* bias;        // (samples, keys) or null
  const uint32_t* rows;     // (samples, heads, queries): states of the dropout
  const uint32_t* columns;  // (samples, keys)
  const uint32_t* limit;    // (samples): what the bits of a kept weight reach
  const float* rescale;     // (samples): the factor of what is kept
  bool drop;
  float scale;
};

struct Forward : Attention {
  float* read;   // (samples, queries, heads, value_features)
  float* peak;   // (samples, heads, queries): log2 of the largest weight's numerator
  float* total;  // (samples, heads, queries): the row's sum of 2^(score - peak)
};

struct Backward : Attention {
  const float *read, *peak, *total;  // as the forward pass left them
  const float* d_read;
  float *d_query, *d_key, *d_value;
  float* d_bias;  // (samples, heads, keys) or null
};

// One instruction set. A piece is one head of one sample; pieces write apart from each
// other, so any number of threads gives the same numbers. `*_floats` is the size of the
// scratch memory that a piece needs, aligned to 64 bytes; `places` has room for
// queries + keys.
struct Kernels {
  const char* name;
  int64_t (*forward_floats)(const Attention&);
  void (*forward)(const Forward&, int64_t piece, float* scratch, int32_t* places);
  int64_t (*backward_floats)(const Attention&);
  void (*backward)(const Backward&, int64_t piece, float* scratch, int32_t* places);
};

extern const Kernels portable, avx2, avx512;

}  // namespace mcr_jax

#endif  // MCR_JAX_NATIVE_KERNELS_H_
