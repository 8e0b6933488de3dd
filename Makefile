# quipu. `make help` lists the targets. Every .c in a folder of the layout is part of the program; nothing is
# listed twice.

ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

CC       ?= gcc
SHARED   ?= ../shared
GOLDEN   ?= $(SHARED)/golden
B        ?= build
WARN      = -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wvla -Wundef $(if $(WERROR),-Werror)
OPT      ?= -O3
# No -ffast-math: NaN must stay NaN. No -march=native: kernels are built for several instruction sets.
# One set of objects for both libraries: ld turns what -fPIC adds back into direct calls in programs and, where
# exports are bound, in the shared one. A fatal handler in C++ may throw through our frames.
LIBFLAGS  = -fPIC -fno-semantic-interposition -fexceptions
CFLAGS    = -std=gnu11 $(OPT) -g -fno-math-errno -fno-trapping-math -fopenmp -pthread $(LIBFLAGS) $(WARN) -I. -D_GNU_SOURCE \
            $(SAN) $(INC) $(EXTRA)
SAN       = $(if $(ASAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
comma     = ,
SAY       = $(if $(V),,@echo '  $@'; )# V=1 shows whole commands
MULTI    := $(shell $(CC) -print-multiarch 2>/dev/null)
BLASDIR  := $(firstword $(wildcard /usr/lib/$(MULTI)/openblas-openmp /usr/lib64 /usr/lib))
PC        = hdf5-serial yaml-0.1 libpcre2-8
INC      := $(shell pkg-config --cflags $(PC) 2>/dev/null) -I/usr/include/$(MULTI)/openblas-openmp
LIBS     := -L$(BLASDIR) -Wl,-rpath,$(BLASDIR) -lopenblas -ldnnl $(shell pkg-config --libs $(PC) 2>/dev/null) -lm
TESTLIBS := $(shell pkg-config --libs check 2>/dev/null)

# Kernels: each loop file once per storage type and instruction set; the rest of autograd/cpu once.
ARCH     := $(shell uname -m)
CPU_X86   = gemm_amx gemm_bf16 gemm_few_bf16 gemm_few_f32
CPU_ONCE  = attention_work dispatch gemm_blas gemm_check gemm_dnnl tuned quant quantize weight \
            $(if $(filter x86_64,$(ARCH)),$(CPU_X86))
ONCE      = $(CPU_ONCE:%=autograd/cpu/%.c)
LOOPS     = $(filter-out $(ONCE) $(CPU_X86:%=autograd/cpu/%.c),$(wildcard autograd/cpu/*.c))
ISAS      = base $(if $(ASAN),,$(if $(filter x86_64,$(ARCH)),v3 v4))
BUILDS    = f64-base $(foreach i,$(ISAS),f32-$i bf16-$i) $(if $(filter v4,$(ISAS)),bf16-v4bf16)
# A row's bits must not depend on where a vector loop ends, and compilers fuse multiply and add differently in
# its remainder. Products and attention keep the fusing: their loops run over padded tiles.
FUSED     = attention% gemm%
FLAGS_v3  = -march=x86-64-v3
FLAGS_v4  = -march=x86-64-v4 -mprefer-vector-width=512
FLAGS_v4bf16 = $(FLAGS_v4) -mavx512bf16

SRC       = $(wildcard base/*.c autograd/*.c autograd/ops/*.c optim/*.c model/*.c data/*.c eval/*.c train/*.c) \
            $(wildcard $(ONCE))
CLI       = $(wildcard cli/*.c)
TEST      = $(wildcard tests/*.c tests/*/*.c tests/*/*/*.c)
PARITY_SRC = $(wildcard tests/parity/*.c)
BENCH     = $(wildcard bench/*.c)
EXAMPLES  = $(patsubst docs/examples/%.c,$(B)/examples/%,$(wildcard docs/examples/*.c))
QUICK     = linear_regression lora_linear new_op new_optimizer two_moons
OBJ       = $(SRC:%.c=$(B)/%.o) $(foreach b,$(BUILDS),$(LOOPS:%.c=$(B)/$(b)/%.o))
LIB       = $(B)/libquipu.a

VERSION  := $(shell sed -n 's/^\#define QP_VERSION "\(.*\)"/\1/p' train/versions.h)
SONAME    = libquipu.so.$(firstword $(subst ., ,$(VERSION)))
SO        = $(B)/libquipu.so.$(VERSION)
PREFIX   ?= /usr/local
LIBDIR   ?= $(PREFIX)/lib

all: quipu $(SO) ## the program and the libraries
quipu: $(B)/quipu
	@cp -f $< $@
$(LIB): $(OBJ)
	@rm -f $@
	@ar rcs $@ $^
# Nothing but qp_ names leaves it, and its own calls go to itself whatever the program defines; it stays
# loaded, since threads call it when they end.
$(SO): $(OBJ)
	@echo '{ global: qp_*; local: *; };' > $(B)/exports
	$(SAY)$(CC) $(CFLAGS) -shared -Wl,-soname,$(SONAME),--version-script=$(B)/exports,-Bsymbolic-functions,-z,defs,-z,nodelete \
	    $^ -o $@ $(LIBS)
	@ln -sf $(@F) $(B)/$(SONAME); ln -sf $(SONAME) $(B)/libquipu.so
$(B)/quipu: $(CLI:%.c=$(B)/%.o) $(LIB)
	$(SAY)$(CC) $(CFLAGS) $^ -o $@ $(LIBS)
$(B)/tests/run: $(patsubst %.c,$(B)/%.o,$(filter-out $(PARITY_SRC),$(TEST))) $(LIB)
	$(SAY)$(CC) $(CFLAGS) $^ -o $@ $(TESTLIBS) $(LIBS)
$(B)/parity: $(PARITY_SRC:%.c=$(B)/%.o) $(LIB)
	$(SAY)$(CC) $(CFLAGS) $^ -o $@ $(LIBS)
$(B)/bench/run: $(BENCH:%.c=$(B)/%.o) $(LIB)
	$(SAY)$(CC) $(CFLAGS) $^ -o $@ $(LIBS)
$(EXAMPLES): $(B)/examples/%: $(B)/docs/examples/%.o $(LIB)
	@mkdir -p $(@D)
	$(SAY)$(CC) $(CFLAGS) $^ -o $@ $(LIBS)

# Other compilers or flags make other objects: what was built without -Werror proves nothing under it.
$(B)/flags: FORCE
	@mkdir -p $(@D); echo '$(CC) $(CFLAGS)' | cmp -s - $@ || echo '$(CC) $(CFLAGS)' > $@
FORCE:
$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(SAY)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@
define kernel_rule
$(B)/$(1)/%.o: %.c $(B)/flags
	@mkdir -p $$(@D)
	$$(SAY)$$(CC) $$(CFLAGS) $$(FLAGS_$(lastword $(subst -, ,$(1)))) -DQP_ISA=$(lastword $(subst -, ,$(1))) \
	    $$(if $$(filter $(FUSED),$$(basename $$(notdir $$<))),,-ffp-contract=off) \
	    -DQP_T_$(shell echo $(firstword $(subst -, ,$(1))) | tr a-z A-Z) -MMD -MP -c $$< -o $$@
endef
$(foreach b,$(BUILDS),$(eval $(call kernel_rule,$(b))))
$(B)/autograd/cpu/gemm_bf16.o $(B)/autograd/cpu/gemm_few_bf16.o: private CFLAGS += $(FLAGS_v4bf16)
$(B)/autograd/cpu/gemm_few_f32.o $(B)/autograd/cpu/gemm_amx.o: private CFLAGS += $(FLAGS_v4)
$(B)/autograd/cpu/dispatch.o: private CFLAGS += $(ISAS:%=-DQP_HAVE_%) $(if $(filter x86_64,$(ARCH)),$(CPU_X86:%=-DQP_HAVE_%))
-include $(shell find $(B) -name '*.d' 2>/dev/null)

export OMP_WAIT_POLICY = passive
export QP_SHARED = $(SHARED)
test: quipu $(B)/tests/run ## the Check suites; T=name runs one, CASE=name one case of it: T=ops CASE=exp
	$(if $(T),CK_RUN_SUITE=$(T)) $(if $(CASE),CK_RUN_CASE=$(CASE)) QP_BUILD=$(B) $(B)/tests/run
asan: ## the suites, and the examples that are quick, under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory ASAN=1 B=build-asan OPT=-O1 build-asan/tests/run build-asan/quipu \
	    $(if $(T),,$(QUICK:%=build-asan/examples/%))
	@export QP_BUILD=build-asan ASAN_OPTIONS=detect_leaks=1 CK_TIMEOUT_MULTIPLIER=6; \
	$(if $(T),CK_RUN_SUITE=$(T) $(if $(CASE),CK_RUN_CASE=$(CASE)) build-asan/tests/run, \
	build-asan/tests/run 1/2 & other=$$!; build-asan/tests/run 2/2; mine=$$?; wait $$other && [ $$mine = 0 ])
	$(if $(T),,@for e in $(QUICK); do build-asan/examples/$$e >build-asan/said || { cat build-asan/said; exit 1; }; done)
parity: quipu $(B)/parity ## compare with golden data; GOLDEN=DIR [PARITY=group,...]
	@if [ -d "$(GOLDEN)" ]; then QP_BUILD=$(B) $(B)/parity "$(GOLDEN)" "$(SHARED)" "$(PARITY_GROUPS)"; \
	else echo "parity: SKIPPED: no golden data at $(GOLDEN) (say GOLDEN=DIR)"; fi
PARITY_GROUPS = $(if $(filter command line environment,$(origin PARITY)),$(PARITY))
examples: $(EXAMPLES) ## the programs of docs/examples: each has to reach its stated result
	@for e in $(sort $^); do echo "$${e##*/}"; $$e || { echo "examples: $${e##*/} failed"; exit 1; }; done
docs: $(LIB) ## the code on docs/autograd.md compiles, runs and prints what the page says
	@tests/docs.sh $(B) '$(CC) $(CFLAGS)' '$(LIBS)'
layers: ## every #include against the table in docs/ARCHITECTURE.md
	@tests/layers.sh
FORMATTED = quipu.h $(wildcard */*.[ch] */*/*.[ch])
format: ## clang-format in place
	clang-format -i $(FORMATTED)
format-check:
	@clang-format --dry-run -Werror $(FORMATTED) && echo "format: clean"
werror: ## every warning is an error, gcc and clang
	@$(MAKE) --no-print-directory WERROR=1 $(B)/quipu $(B)/tests/run $(B)/parity $(B)/bench/run $(EXAMPLES)
	@$(MAKE) --no-print-directory WERROR=1 CC=clang OPT=-O1 EXTRA=-Wno-pass-failed B=build-clang ISAS=base \
	    build-clang/libquipu.a $(CLI:%.c=build-clang/%.o) $(BENCH:%.c=build-clang/%.o) \
	    $(patsubst %.c,build-clang/%.o,$(wildcard docs/examples/*.c))
	@echo "werror: clean with gcc and clang"
check: export WERROR = 1
check: ## what CI runs
	@$(MAKE) --no-print-directory format-check
	@$(MAKE) --no-print-directory layers
	@$(MAKE) --no-print-directory werror
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory library
	@$(MAKE) --no-print-directory examples
	@$(MAKE) --no-print-directory docs
	@$(MAKE) --no-print-directory asan
	@$(MAKE) --no-print-directory parity PARITY=-real
# The headers are what quipu.h includes, found by the compiler.
HEADERS   = $(sort $(filter-out -%,$(filter %.h %.def,$(shell $(CC) $(CFLAGS) -MM -x c quipu.h))))
BIN_TO    = $(DESTDIR)$(PREFIX)/bin
LIB_TO    = $(DESTDIR)$(LIBDIR)
INC_TO    = $(DESTDIR)$(PREFIX)/include/quipu
install: all ## program, libraries, headers, pkg-config file; PREFIX=/usr/local DESTDIR=
	@install -d $(BIN_TO) $(LIB_TO)/pkgconfig $(sort $(dir $(HEADERS:%=$(INC_TO)/%)))
	install -m 755 $(B)/quipu $(BIN_TO)/quipu
	install -m 644 $(LIB) $(LIB_TO)/libquipu.a
	install -m 755 $(SO) $(LIB_TO)/$(notdir $(SO))
	@ln -sf $(notdir $(SO)) $(LIB_TO)/$(SONAME); ln -sf $(SONAME) $(LIB_TO)/libquipu.so
	@for h in $(HEADERS); do install -m 644 $$h $(INC_TO)/$$h || exit 1; done
	@sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|; s|@LIBS@|$(LIBS)|' quipu.pc.in \
	    > $(LIB_TO)/pkgconfig/quipu.pc
	@echo 'installed: pkg-config --cflags --libs quipu (PKG_CONFIG_PATH=$(LIBDIR)/pkgconfig)'
uninstall: ## what install put there, with the same PREFIX and DESTDIR
	rm -f $(BIN_TO)/quipu $(LIB_TO)/libquipu.a $(LIB_TO)/libquipu.so* $(LIB_TO)/pkgconfig/quipu.pc
	rm -rf $(INC_TO)
library: all ## as others meet it: headers alone in C and C++, names, globals, an installed prefix
	@tests/headers.sh $(filter %.h,$(HEADERS))
	@tests/symbols.sh $(B)
	@CC="$(CC)" MAKE="$(MAKE)" tests/install.sh
soak: quipu ## the real model killed and resumed, one thread and two: the same bytes (half an hour)
	tests/soak.sh
mutants: ## one-line bugs planted in every backward: do the tests find them? N=200 or all, OP=name, SEED=n (a quarter of an hour)
	CC="$(CC)" SHARED="$(SHARED)" tests/mutants.sh
bench: $(B)/bench/run quipu ## this machine's peaks, and what training reaches of them
	env -u OMP_WAIT_POLICY $(B)/bench/run
bench-peers: $(B)/bench/run quipu ## beside PyTorch, llama.cpp, llm.c: PEER_PYTHON=python LLAMA_CPP=folder LLM_C=folder [ROWS=a,b REPEAT=2 PEER_FILES=folder]
	@env -u OMP_WAIT_POLICY B=$(B) PEER_PYTHON=$(PEER_PYTHON) LLAMA_CPP=$(LLAMA_CPP) LLM_C=$(LLM_C) PEER_FILES=$(PEER_FILES) ROWS=$(ROWS) \
	    $(if $(REPEAT),REPEAT=$(REPEAT)) bench/peers.sh
demo: quipu ## train a small model, LoRA-tune it, sample from it: under four minutes
	@configs/demo/run.sh
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile
clean: ## remove everything built
	rm -rf build build-* quipu
.PHONY: FORCE all install uninstall library test asan parity examples docs layers format format-check werror check soak mutants bench bench-peers demo help clean
