// The custom calls that XLA makes, and the choice of an instruction set.
//
// An instruction set is an attribute of the call: a compiled program says by which
// kernels it computes, and is refused where the processor lacks them.
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <string>
#include <string_view>
#include <vector>

#include "kernels.h"
#include "spread.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace mcr_jax {
namespace {

#if defined(__x86_64__)
// Bits of XCR0: what the system saves of a thread; and of leaf 7, register EBX.
constexpr uint32_t AVX_STATE = 0x6, AVX512_STATE = 0xe6;
constexpr uint32_t AVX2 = 1u << 5;
constexpr uint32_t AVX512 = AVX2 | 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F DQ BW VL

// Asked of the processor itself: `__builtin_cpu_supports` always answers no where the
// compiler is zig.
bool processor_has(uint32_t state, uint32_t features) {
  constexpr uint32_t FMA = 1u << 12, OSXSAVE = 1u << 27;
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (FMA | OSXSAVE)) != (FMA | OSXSAVE))
    return false;
  uint32_t saved, high;
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if ((saved & state) != state || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  return (b & features) == features;
}
#endif

// Best first.
struct Choice {
  const Kernels* kernels;
  const char* name;
  bool (*runs)();
};

const std::vector<Choice>& choices() {
  static const std::vector<Choice> known = {
#if defined(__x86_64__)
      {&avx512, "avx512", [] { return processor_has(AVX512_STATE, AVX512); }},
      {&avx2, "avx2", [] { return processor_has(AVX_STATE, AVX2); }},
#endif
#if defined(__aarch64__)
      // What every such processor has.
      {&portable, "neon", [] { return true; }},
#else
      {&portable, "portable", [] { return true; }},
#endif
  };
  return known;
}

const Kernels* find(std::string_view name) {
  for (const Choice& choice : choices())
    if (name == choice.name && choice.runs()) return choice.kernels;
  return nullptr;
}

using Array = ffi::Buffer<ffi::F32>;
using Mask = ffi::Buffer<ffi::PRED>;
using Words = ffi::Buffer<ffi::U32>;

// All axes but the last three are samples. Masks and biases that are absent come as one
// neutral element.
Attention arguments(const Array& query, const Array& key, const Array& value,
                    const Mask& query_mask, const Mask& key_mask, const Array& bias,
                    const Words& rows, const Words& columns, const Words& limit,
                    const Array& rescale, float scale, bool drop) {
  auto q = query.dimensions(), k = key.dimensions(), v = value.dimensions();
  size_t n = q.size();
  Attention a{};
  a.samples = 1;
  for (size_t i = 0; i + 3 < n; ++i) a.samples *= q[i];
  a.queries = q[n - 3], a.keys = k[n - 3], a.heads = q[n - 2];
  a.key_features = q[n - 1], a.value_features = v[n - 1];
  a.query = query.typed_data(), a.key = key.typed_data(), a.value = value.typed_data();
  auto given = [](const auto& x, int64_t steps) {
    return x.dimensions().back() == steps ? x.typed_data() : nullptr;
  };
  a.query_mask = given(query_mask, a.queries);
  a.key_mask = given(key_mask, a.keys);
  a.bias = given(bias, a.keys);
  a.rows = rows.typed_data(), a.columns = columns.typed_data();
  a.limit = limit.typed_data(), a.rescale = rescale.typed_data();
  a.drop = drop, a.scale = scale;
  return a;
}

ffi::Error missing(std::string_view name) {
  return ffi::Error::InvalidArgument(
      "This program was compiled for the native kernels of '" + std::string(name) +
      "', which this processor does not have.");
}

ffi::Error forward(ffi::ThreadPool pool, Array query, Array key, Array value,
                   Mask query_mask, Mask key_mask, Array bias, Words rows, Words columns,
                   Words limit, Array rescale, float scale, bool drop,
                   std::string_view instructions, ffi::Result<Array> read,
                   ffi::Result<Array> peak, ffi::Result<Array> total) {
  const Kernels* kernels = find(instructions);
  if (!kernels) return missing(instructions);
  Forward a{arguments(query, key, value, query_mask, key_mask, bias, rows, columns, limit,
                      rescale, scale, drop),
            read->typed_data(), peak->typed_data(), total->typed_data()};
  compute(pool, a, kernels->forward_floats, kernels->forward);
  return ffi::Error::Success();
}

ffi::Error backward(ffi::ThreadPool pool, Array query, Array key, Array value,
                    Mask query_mask, Mask key_mask, Array bias, Words rows, Words columns,
                    Words limit, Array rescale, Array read, Array peak, Array total,
                    Array d_read, float scale, bool drop, std::string_view instructions,
                    ffi::Result<Array> d_query, ffi::Result<Array> d_key,
                    ffi::Result<Array> d_value, ffi::Result<Array> d_bias) {
  const Kernels* kernels = find(instructions);
  if (!kernels) return missing(instructions);
  Backward a{arguments(query, key, value, query_mask, key_mask, bias, rows, columns,
                       limit, rescale, scale, drop),
             read.typed_data(), peak.typed_data(), total.typed_data(),
             d_read.typed_data(), d_query->typed_data(), d_key->typed_data(),
             d_value->typed_data(), nullptr};
  // Without a bias its gradient has no keys.
  if (d_bias->dimensions().back() == a.keys) a.d_bias = d_bias->typed_data();
  compute(pool, a, kernels->backward_floats, kernels->backward);
  return ffi::Error::Success();
}

#define MCR_OPERANDS                                                               \
  ffi::Ffi::Bind()                                                                 \
      .Ctx<ffi::ThreadPool>()                                                      \
      .Arg<Array>().Arg<Array>().Arg<Array>()                                      \
      .Arg<Mask>().Arg<Mask>().Arg<Array>()                                        \
      .Arg<Words>().Arg<Words>().Arg<Words>().Arg<Array>()
#define MCR_ATTRIBUTES                                                             \
  .Attr<float>("scale").Attr<bool>("drop").Attr<std::string_view>("instructions")

}  // namespace

#pragma GCC visibility push(default)

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    mcr_jax_attention_forward, forward,
    MCR_OPERANDS MCR_ATTRIBUTES.Ret<Array>().Ret<Array>().Ret<Array>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    mcr_jax_attention_backward, backward,
    MCR_OPERANDS.Arg<Array>().Arg<Array>().Arg<Array>().Arg<Array>() MCR_ATTRIBUTES
        .Ret<Array>().Ret<Array>().Ret<Array>().Ret<Array>());

// The names of the instruction sets that run here, best first, with spaces between.
extern "C" const char* mcr_jax_instructions() {
  static const std::string names = [] {
    std::string found;
    for (const Choice& choice : choices())
      if (choice.runs()) found += (found.empty() ? "" : " ") + std::string(choice.name);
    return found;
  }();
  return names.c_str();
}

#pragma GCC visibility pop

}  // namespace mcr_jax
