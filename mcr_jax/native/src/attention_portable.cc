// Attention for portable: 4 lanes. Its compiler flags are in setup.py.
#define LANES 4
#define KERNELS portable
#include "attention.h"
