/* Places where a test may kill the program: QP_FAULT="save_mid:2" ends it by SIGKILL at the second
   pass of that place. Compiled in always, so that what is tested is what is shipped; without the
   variable it costs one look-up. */
#ifndef QP_TRAIN_FAULT_H
#define QP_TRAIN_FAULT_H
#include <stdbool.h>
void qp_fault(const char *place);
/* The same, but tells the caller to spoil something instead. */
bool qp_fault_here(const char *place);
/* Waits half a second there instead. */
void qp_fault_slow(const char *place);
#endif
