/* Reductions along a row in sixteen lanes: element j goes to lane j mod 16, and the lanes are
   folded in a tree. The order is the same for every instruction set and compiler and wherever the
   row lies in memory, so a row's bits are too; and it vectorises without leave to reorder. */
#ifndef QP_AUTOGRAD_CPU_LANES_H
#define QP_AUTOGRAD_CPU_LANES_H
#include <stdint.h>

enum { LANES = 16 };

/* to = all of term, an expression in j = 0 .. n-1, folded by both(a, b) from `start`, in `type`.
   More lanes where `both` takes several instructions that wait for each other. */
#define FOLD(type, lanes, to, start, n, j, term, both)                                             \
    do {                                                                                           \
        type lane_[lanes];                                                                         \
        int64_t base_ = 0;                                                                         \
        for (int l_ = 0; l_ < (lanes); l_++) lane_[l_] = start;                                    \
        for (; base_ + (lanes) <= (n); base_ += (lanes)) {                                         \
            _Pragma("omp simd") for (int l_ = 0; l_ < (lanes); l_++)                               \
            {                                                                                      \
                const int64_t j = base_ + l_;                                                      \
                lane_[l_] = both(lane_[l_], (term));                                               \
            }                                                                                      \
        }                                                                                          \
        for (int64_t j = base_; j < (n); j++) lane_[j - base_] = both(lane_[j - base_], (term));   \
        for (int half_ = (lanes) / 2; half_; half_ /= 2)                                           \
            for (int l_ = 0; l_ < half_; l_++) lane_[l_] = both(lane_[l_], lane_[l_ + half_]);     \
        to = lane_[0];                                                                             \
    } while (0)

/* to = sum over j = 0 .. n-1 of term, an expression in j, in `type`. */
#define LANES_PLUS(a, b) ((a) + (b))
#define SUM(type, to, n, j, term) FOLD(type, LANES, to, 0, n, j, term, LANES_PLUS)

/* to = the largest of `to` and term, an expression in j = 0 .. n-1; a NaN never is. A largest value
   is exact in any order, so more lanes cost nothing. */
#define LANES_LARGER(a, b) ((b) > (a) ? (b) : (a))
#define LARGEST(type, to, n, j, term) FOLD(type, 4 * LANES, to, to, n, j, term, LANES_LARGER)
#endif
