/* The table of this build: qp_kernels_f32_v4 and its sisters, which dispatch.c puts together. */
#include "autograd/cpu/kernel.h"

extern const qp_kernels K(kernels);
const qp_kernels K(kernels) = {
#define QP_KERNEL(name, args) .name = K(name),
#include "autograd/kernels.def"
#undef QP_KERNEL
};
