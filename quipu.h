/* quipu as a C library: everything a program needs to build a network, train it, or fine-tune a
   Llama. Each header is its own documentation and may be included alone; C11 and C++17.

     the core      base/err.h         status, message, qp_on_fatal: what a wrong shape does
                   base/dtype.h       f64, f32, bf16 and what files hold
                   base/rng.h         counter-based random numbers
                   base/log.h         how much is said on stderr
     autograd      autograd/tensor.h, tape.h          tensor, context, backward, own ops
                   autograd/backend.h                 the CPU's kernels, their threads
                   autograd/general.h, ops.h          ops for any network; those of the Llama path
                   autograd/grad.h, gradcheck.h       an op's own backward, and its check
                   autograd/segment.h                 recompute: memory for time
                   autograd/param.h, init.h           what is trained, first values, files
                   autograd/print.h, profile.h        the tape for eyes; time, memory and work an op
                   autograd/trace.h, op_work.h        calls on a time line; operations, bytes
                   autograd/quantize.h                blocks of 4 and 8 bits: NF4, int8, dynamic
     training      optim/optim.h, types.h             optimisers, schedules, clipping
                   train/objective.h, step.h          a loss; micro-batches, clip, update in
                                                      one call
     models        model/model.h                      Llama: open, make, forward, save; adapters
                   model/linear.h, lora.h             a projection, LoRA wrapped round one
     data          data/tokenizer.h, chat.h           text and chats to ids
                   data/corpus.h, loader.h            files to documents, documents to batches
                   base/batch.h                       what a model reads
     evaluation    eval/score.h, perplexity.h         losses
                   eval/generate.h, stream.h          prompt to ids, bytes to text that may be shown
     files         base/safetensors.h                 tensors by name, read and written

   Three kinds of trouble. What comes from outside (files, text, options) gives a qp_status other
   than QP_OK and a message in a qp_err. A bug in the caller, such as a wrong shape (QP_BUG), and a
   step over its memory budget (QP_NOMEM) end the program with a sentence, unless qp_on_fatal named
   a handler that jumps or throws out of the call; qp_ctx_reset then makes the context usable again.

   No global state but the log level (qp_log_max), and only OpenMP's threads outlive a call:
   contexts in several threads do not know of each other. A context, a model and a parameter store
   are used by one thread at a time; a tokenizer and a corpus, once open, by any number. Kernels use
   OpenMP's threads of the calling thread: qp_cpu_threads. OpenBLAS, which a program may use for
   itself, is set to one thread by the first product. GCC's OpenMP lets idle threads spin for
   milliseconds, which on cores that others use too makes small kernels a hundred times slower:
   start such programs with GOMP_SPINCOUNT=1000 in the environment, as the quipu program sees to for
   itself. */
#ifndef QUIPU_H
#define QUIPU_H
#include "autograd/general.h"
#include "autograd/grad.h"
#include "autograd/gradcheck.h"
#include "autograd/init.h"
#include "autograd/ops.h"
#include "autograd/param.h"
#include "autograd/print.h"
#include "autograd/profile.h"
#include "autograd/quantize.h"
#include "autograd/segment.h"
#include "base/batch.h"
#include "base/log.h"
#include "base/safetensors.h"
#include "data/chat.h"
#include "data/corpus.h"
#include "data/loader.h"
#include "data/tokenizer.h"
#include "eval/generate.h"
#include "eval/perplexity.h"
#include "eval/score.h"
#include "eval/stream.h"
#include "model/linear.h"
#include "model/lora.h"
#include "model/model.h"
#include "optim/optim.h"
#include "optim/types.h"
#include "train/objective.h"
#include "train/step.h"
#include "train/versions.h"
#endif
