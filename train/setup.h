/* From options to everything a run works with: tokenizer, data, model, optimiser. In the order in
   which mistakes are cheapest: nothing big is read before everything small has been checked. */
#ifndef QP_TRAIN_SETUP_H
#define QP_TRAIN_SETUP_H
#include "base/thread.h"
#include "data/loader.h"
#include "optim/optim.h"
#include "train/config.h"
#include "train/objective.h"

typedef struct {
    const qp_options *o;  /* borrowed */
    bool outline;         /* set before opening: no weight is read, only planning may follow */
    size_t program_bytes; /* of the process before the model was opened */
    qp_tokenizer *tokenizer;
    const qp_chat *chat;
    qp_corpus train, valid; /* valid may have no documents */
    qp_loader *loader, *valid_loader;
    qp_model *model;
    bool adapter; /* LoRA: the base is frozen */
    qp_optim optim;
    const qp_objective *objective;
    qp_storage compute;
    int64_t total_steps;  /* 0: only the clock or patience ends the run */
    int64_t total_micros; /* micro-batches of num_epochs; INT64_MAX: no such limit */
    qp_schedule schedule;
    char tokenizer_hash[65], data_hash[65];
    char base_hash[65]; /* of the model before its first step: see qp_setup_hash */
    qp_task *hashing;
} qp_setup;

/* Zeroed by the caller. Releasing what a failed open has opened is the caller's too. */
qp_status qp_setup_open(qp_setup *s, const qp_options *o, qp_err *err) QP_MUST_CHECK;
void qp_setup_release(qp_setup *s);
/* Begins to fill in base_hash, which takes a second for 2 GB, beside everything else. */
void qp_setup_hash(qp_setup *s);
/* Whether it is there; wait: until it is. Has to be before the base's weights change. */
bool qp_setup_hashed(qp_setup *s, bool wait);
/* Only tokenizer and data: for validate and preprocess. */
qp_status qp_setup_data(qp_setup *s, qp_err *err) QP_MUST_CHECK;
#endif
