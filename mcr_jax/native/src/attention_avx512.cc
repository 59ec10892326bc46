// Attention for avx512: 16 lanes. Its compiler flags are in setup.py.
#define LANES 16
#define KERNELS avx512
#include "attention.h"
