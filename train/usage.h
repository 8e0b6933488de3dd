/* What a process takes, and sizes and times as people read them. */
#ifndef QP_TRAIN_USAGE_H
#define QP_TRAIN_USAGE_H
#include <stdint.h>

int64_t qp_rss_bytes(void);      /* of this process now */
int64_t qp_rss_peak_bytes(void); /* the most it has been */
int64_t qp_memory_free(void);    /* what the machine could still give */
/* The first "key : value" line of a file in /proc, or "unknown". The caller frees. */
char *qp_proc_value(const char *path, const char *key);
void qp_bytes_text(char text[16], double bytes);  /* "5.9G" */
void qp_time_text(char text[24], double seconds); /* "0:41:10" */
#endif
