// Attention for avx2: 8 lanes. Its compiler flags are in setup.py.
#define LANES 8
#define KERNELS avx2
#include "attention.h"
