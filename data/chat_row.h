/* A chat template: what stands around a message's role and content. */
#ifndef QP_DATA_CHAT_ROW_H
#define QP_DATA_CHAT_ROW_H
#include "data/chat.h"

struct qp_chat {
    const char *name;
    const char *bos;    /* special tokens, by their text; NULL: none there */
    const char *open;   /* before the role */
    const char *named;  /* after the role */
    const char *close;  /* after the content */
    const char *head;   /* plain text between the header and the content */
    const char *tail;   /* and after `close` */
    const char *system; /* the system text where the messages begin with none; NULL: no block */
    bool dated;         /* always a system block, which begins with the cut-off and a date */
    bool trim;          /* content as Python's str.strip() leaves it */
    bool apart; /* header and content are tokenised apart, else all text between two special tokens
                   together */
    bool quote_tools; /* what a tool returned is written as a JSON string */
};
#endif
