/* First values. Each is a function of seed, name and index alone, whatever the threads, the order
   of the calls and the other parameters. */
#ifndef QP_AUTOGRAD_INIT_H
#define QP_AUTOGRAD_INIT_H
#include "autograd/tensor.h"
QP_C_BEGIN

/* constant + normal * N(0, 1) + a draw from [-uniform, uniform). */
typedef struct {
    double constant, normal, uniform;
} qp_init;

qp_init qp_init_constant(double value);
qp_init qp_init_normal(double std);
qp_init qp_init_uniform(double low, double high);
/* By fan: w is (out, in), as qp_linear takes it, or (out, in, ...), where the rest counts to both
   fans. gain: 1 for a linear layer, sqrt(2) before a relu, 5/3 before a tanh.
   Xavier: variance gain^2 * 2 / (in + out).                          Glorot & Bengio 2010
   Kaiming: variance gain^2 / in.                       He et al. 2015, arXiv:1502.01852 */
qp_init qp_init_xavier_normal(const qp_tensor *w, double gain);
qp_init qp_init_xavier_uniform(const qp_tensor *w, double gain);
qp_init qp_init_kaiming_normal(const qp_tensor *w, double gain);
qp_init qp_init_kaiming_uniform(const qp_tensor *w, double gain);

/* n values of type `to`, f64 or f32. */
void qp_init_draw(qp_init init, uint64_t seed, const char *name, qp_storage to, void *data,
                  int64_t n);
QP_C_END
#endif
