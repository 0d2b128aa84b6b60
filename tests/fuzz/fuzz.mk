# SPDX-License-Identifier: MIT
# Fuzzing on the host: libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer. `make fuzz SECONDS=60`.
FUZZ_CC ?= clang
FUZZ_DIR := build/fuzz
FUZZ_SAN := address,undefined
# clang does not know all of gcc's pragmas. gcc defines __SANITIZE_ADDRESS__ by itself; arch/host/sanitizer.h needs it.
FUZZ_FLAGS = -std=gnu11 -O1 -g -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-strict-aliasing -fno-builtin \
	-pthread -iquote . -Iarch/include -Iarch/host/include $(WARN) -Wno-unknown-pragmas -Wno-bitwise-instead-of-logical \
	-DCHECK=1 -DBUILD_NAME='"check"' -MMD -MP \
	-D__SANITIZE_ADDRESS__ -fsanitize=$(FUZZ_SAN) -fno-sanitize-recover=all $(FUZZ_COV)
# What guides libFuzzer: the edges of the code under test; in the parsers, which compare bytes with constants, also the
# operands of comparisons (everywhere that would halve the speed); nothing in the code that compares the space with its
# model.
FUZZ_COV = -fsanitize-coverage=inline-8bit-counters,pc-table
FUZZ_PARSERS := arch/x86_64/%.o tests/fuzz/%.o kernel/cmdline.o kernel/options.o kernel/mode.o kernel/lib.o proc/elf.o proc/symbols.o proc/args.o proc/load.o
$(addprefix $(FUZZ_DIR)/,$(FUZZ_PARSERS)): FUZZ_COV = -fsanitize=fuzzer-no-link
$(FUZZ_DIR)/tests/mm/model/check.o: FUZZ_COV =
FUZZ_TARGETS := $(patsubst tests/fuzz/target_%.c,%,$(wildcard tests/fuzz/target_*.c))
# The kernel as a Linux process (tests/host/host.mk), except its clock and its main().
FUZZ_SRC := $(filter-out arch/host/machine.c arch/host/timer.c,$(wildcard arch/host/*.c)) \
	$(wildcard arch/*/*_parse.c) $(filter-out kernel/string.c,$(PORTABLE_C)) \
	tests/mm/help.c tests/mm/stamps.c $(wildcard tests/mm/model/*.c) \
	$(filter-out tests/fuzz/target_%,$(wildcard tests/fuzz/*.c))
FUZZ_OBJ := $(FUZZ_SRC:%.c=$(FUZZ_DIR)/%.o) $(FUZZ_DIR)/version.o

.PHONY: fuzz fuzz-build fuzz-test
fuzz-build: $(FUZZ_TARGETS:%=$(FUZZ_DIR)/%)
fuzz:
	@+$(MAKE) --no-print-directory -j$$(nproc) fuzz-build
	@SECONDS="$(SECONDS)" $(PYTHON) tools/fuzz.py $(TARGETS)
# The short run, as KTAP.
fuzz-test:
	@+FUZZ_CC="$(FUZZ_CC)" $(PYTHON) tools/fuzz.py --ktap

$(FUZZ_TARGETS:%=$(FUZZ_DIR)/%): $(FUZZ_DIR)/%: $(FUZZ_DIR)/tests/fuzz/target_%.o $(FUZZ_OBJ)
	@echo "LD $@"
	@$(FUZZ_CC) -pthread -fsanitize=fuzzer,$(FUZZ_SAN) -Wl,--wrap=os_yield,--wrap=os_futex_wait -o $@ $^
$(FUZZ_DIR)/version.o: build/version.c
	@mkdir -p $(@D)
	@$(FUZZ_CC) $(FUZZ_FLAGS) -c $< -o $@
$(FUZZ_DIR)/%.o: %.c
	@mkdir -p $(@D)
	@echo "CC [fuzz] $<"
	@$(FUZZ_CC) $(FUZZ_FLAGS) -c $< -o $@
