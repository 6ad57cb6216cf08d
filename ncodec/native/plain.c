/* Any processor. */
#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif
#include "body.h"
