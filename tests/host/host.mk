# SPDX-License-Identifier: MIT
# The kernel as a Linux process: kernel/, mm/, lab/ and tests/ unchanged, on arch/host. `make host`, `make host-test`;
# HOST_SAN=thread|address|undefined|address,undefined builds with those sanitizers, HOST_SAN=coverage for gcov, each in
# a directory of its own. `make hosted`: all of them, and the deterministic scheduler (docs/hosted.md). HOST_BUDGET:
# seconds of processor time, after which a run counts as hung (tools/patience.py).
HOST_SAN ?=
HOST_CC ?= gcc
HOST_DIR := build/host$(if $(HOST_SAN),-$(HOST_SAN))
HOST_ARGS ?= mode=test
HOST_BUDGET ?= 900
# -Wno-tsan: the code has one-way fences (acquire, release), which ThreadSanitizer does not model.
ifeq ($(HOST_SAN),coverage)
HOST_SANFLAGS := --coverage -O0 -fprofile-update=atomic -DHOST_COVERAGE
HOST_SANLINK := --coverage
else ifneq ($(HOST_SAN),)
HOST_SANFLAGS := -fsanitize=$(HOST_SAN) -fno-sanitize-recover=all $(if $(filter thread,$(HOST_SAN)),-Wno-tsan)
HOST_SANLINK := -fsanitize=$(HOST_SAN)
endif
HOST_FLAGS := -std=gnu11 -O1 -g -fno-omit-frame-pointer -fno-optimize-sibling-calls -fno-strict-aliasing -fno-builtin \
	-pthread -iquote . -Iarch/include -Iarch/host/include $(WARN) -DCHECK=1 -DBUILD_NAME='"check"' -MMD -MP $(HOST_SANFLAGS)
# The parsers of firmware tables touch no hardware, so their tests run here too, also under the sanitizers.
HOST_SRC := $(wildcard arch/host/*.c arch/*/*_parse.c arch/x86_64/screen_text.c arch/x86_64/screen_pixels.c tests/host/*.c) \
	$(filter-out kernel/string.c,$(PORTABLE_C)) $(filter-out tests/arch/x86_64/%,$(TESTS_C))
HOST_OBJ := $(HOST_SRC:%.c=$(HOST_DIR)/%.o) $(HOST_DIR)/version.o $(HOST_DIR)/font.o

.PHONY: host host-test hosted coverage convict
host: $(HOST_DIR)/quiesce-host
host-test: host
	TSAN_OPTIONS=suppressions=tests/host/tsan.supp \
	$(PYTHON) tools/patience.py $(HOST_BUDGET) $(HOST_DIR)/quiesce-host $(HOST_ARGS)

hosted:
	@$(PYTHON) tools/hosted.py full
coverage:
	@$(PYTHON) tools/hosted.py full coverage
convict: host
	@$(PYTHON) tools/convict.py $(foreach m,$(MUTANT_NAMES),'$(m)')

$(HOST_DIR)/quiesce-host: $(HOST_OBJ)
	@echo "LD $@"
	@$(HOST_CC) -pthread $(HOST_SANLINK) -o $@ $^
$(HOST_DIR)/version.o $(HOST_DIR)/font.o: $(HOST_DIR)/%.o: build/%.c
	@mkdir -p $(@D)
	@$(HOST_CC) $(HOST_FLAGS) -c $< -o $@
# Only the CPU that runs touches the deterministic scheduler's variables; ThreadSanitizer cannot know that.
$(HOST_DIR)/arch/host/steps.o: HOST_FLAGS += -fno-sanitize=thread
$(HOST_DIR)/%.o: %.c
	@mkdir -p $(@D)
	@echo "CC [host] $<"
	@$(HOST_CC) $(HOST_FLAGS) -c $< -o $@
