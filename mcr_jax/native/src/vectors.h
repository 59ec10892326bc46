// A vector of LANES floats in the compiler's own extensions, and what the kernels do
// with one. Included once by each instruction set, which defines LANES.
//
// Nothing here may come from the standard library's templates: the linker keeps one
// copy of such a function, perhaps one that the processor cannot run.
#include <cstdint>
#include <cstring>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace {

constexpr int L = LANES;
// Vectors that a pass carries side by side: sixteen registers hold two of each sum.
#if defined(__AVX512F__) || defined(__AVX__) || defined(__SSE2__)
constexpr int WIDE = 2;
#else
constexpr int WIDE = 4;
#endif
// Features whose sums are carried at once.
#if defined(__AVX512F__)
constexpr int CHUNK = 8;
#elif WIDE == 4
constexpr int CHUNK = 4;
#else
constexpr int CHUNK = 6;
#endif

typedef float Floats __attribute__((vector_size(L * 4)));
typedef int32_t Ints __attribute__((vector_size(L * 4)));
typedef uint32_t Bits __attribute__((vector_size(L * 4)));

constexpr float LOG2E = 1.44269504088896340736f;

INLINE Floats all(float x) { return x - (Floats){}; }
INLINE Bits all_bits(uint32_t x) { return x - (Bits){}; }
INLINE Floats load(const float* p) {
  Floats x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
INLINE Bits load_bits(const uint32_t* p) {
  Bits x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
INLINE void store(float* p, Floats x) { std::memcpy(p, &x, sizeof x); }

// The larger one; `b` where either is NaN.
INLINE Floats larger(Floats a, Floats b) {
#if defined(__AVX512F__)
  return (Floats)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
  return (Floats)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}

// 2^x for x <= 0, to 1.3 units in the last place; less than 2^-126 reads as that, and
// NaN stays NaN.
INLINE Floats exp2_of(Floats x) {
  x = larger(all(-126.0f), x);
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits, here
  // together with the exponent's bias.
  Floats shifted = x + all(12582912.0f + 127.0f);
  Floats f = x - (shifted - all(12582912.0f + 127.0f));
  // Minimax on [-1/2, 1/2]. Estrin's order: a core waits for the chain of steps.
  Floats g = f * f;
  Floats high = all(0.0013276473619043827f) * f + all(0.009675541892647743f);
  Floats middle = all(0.05550713092088699f) * f + all(0.24022120237350464f);
  Floats p = all(0.6931469440460205f) * f + all(1.0f);
  p = (high * g + middle) * g + p;
  return p * (Floats)((Ints)shifted << 23);
}

// The package's dropout (`ops/dropout.py`): all ones where the weight is kept.
// `least` is the limit less one; both fit 24 bits.
INLINE Ints is_kept(Bits x, Ints least) {
  x = (x ^ (x >> 16)) * 0x7A3D98E5u;
  x = (x ^ (x >> 15)) * 0xC4D6A3B7u;
  return (Ints)(x >> 8) > least;
}
INLINE Floats where(Ints mask, Floats x) { return (Floats)((Ints)x & mask); }

#if defined(__clang__) || __GNUC__ >= 12
#define MCR_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MCR_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (Ints){__VA_ARGS__})
#endif

// Halves of `a` and of `b` added, side by side: a0 + ah, b0 + bh, a1 + ..., h = L / 2.
INLINE Floats fold(Floats a, Floats b) {
#if LANES == 16
  return MCR_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23) +
         MCR_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif LANES == 8
  return MCR_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11) +
         MCR_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  return MCR_SHUFFLE(a, b, 0, 4, 1, 5) + MCR_SHUFFLE(a, b, 2, 6, 3, 7);
#endif
}

// The sums of L vectors, in their order.
INLINE Floats sums_of(const float* vectors) {
  Floats x[L];
  for (int i = 0; i < L; ++i) x[i] = load(vectors + i * L);
  for (int half = L / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) x[i] = fold(x[i], x[i + half]);
  return x[0];
}

// Scratch memory, cut from the front.
struct Space {
  float* next;
  float* take(int64_t floats) {
    float* found = next;
    next += (floats + 15) / 16 * 16;
    return found;
  }
};
constexpr int64_t rounded(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace
