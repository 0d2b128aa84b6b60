# SPDX-License-Identifier: MIT
# Quiesce. `make help` lists the targets and the variables.
VERSION := 0.1
EMULATOR ?= qemu
SMP ?= 4
MEM ?= 512M
ACCEL ?= tcg
MACHINE ?= q35
BUILD ?= check
export EMULATOR SMP MEM ACCEL FIRMWARE MACHINE CPU BUILD CMDLINE PROGRAM ARGS EXTRA TIMEOUT VERBOSE RESULTS HYPERVISORS BASE SECONDS SMP_LIST SWEEP JOBS SSHLOGIN WORKDIR REASON

# The default toolchain: a bare-metal one; otherwise the distribution's cross compiler; otherwise the native one,
# freestanding.
CROSS_COMPILE ?= $(firstword $(foreach p,x86_64-elf- x86_64-linux-gnu-,$(if $(shell command -v $(p)gcc),$(p))))
CC := $(CROSS_COMPILE)gcc
LD := $(CROSS_COMPILE)ld
NM := $(CROSS_COMPILE)nm
STRIP := $(CROSS_COMPILE)strip
NASM := nasm
GRUB_MKRESCUE ?= $(firstword $(foreach p,grub-mkrescue grub2-mkrescue,$(if $(shell command -v $(p)),$(p))) grub-mkrescue)
# /usr/bin/python3 before any other python3 in PATH: the distribution installs its Python packages for that one.
PYTHON := PYTHONDONTWRITEBYTECODE=1 $(firstword $(wildcard /usr/bin/python3) python3) -u

WARN := -Wall -Wextra -Werror -Wmissing-prototypes -Wno-unused-parameter
KFLAGS := -std=gnu11 -O2 -g -ffreestanding -fno-pic -fno-pie -fno-omit-frame-pointer -fno-asynchronous-unwind-tables \
	-fno-strict-aliasing -fno-delete-null-pointer-checks -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
	-fstack-protector-strong -mstack-protector-guard=global -I. -Iarch/include -Iarch/x86_64/include $(WARN) -MMD -MP
LDFLAGS := -n -z noexecstack --no-warn-rwx-segments -T linker.ld

# All .c files below a folder, sorted. The linker takes them in this order, so what they register is in this order, too.
c_files = $(sort $(shell find $(1) -name '*.c'))
PORTABLE_C := $(call c_files,kernel mm lab proc sys)
TESTS_C := $(filter-out tests/fuzz/% tests/host/%,$(call c_files,tests))
SRC_C := $(wildcard arch/x86_64/*.c) $(PORTABLE_C) $(TESTS_C)
SRC_ASM := $(wildcard boot/*.asm arch/x86_64/*.asm)
objs = $(SRC_C:%.c=build/$(1)/%.o) $(SRC_ASM:%.asm=build/$(1)/%.asm.o) build/$(1)/version.o build/$(1)/font.o

# `make MUTANT=name`: the checking build with that mutant always on. Only one object differs.
MUTANT ?=
export MUTANT
MUTANTS = $(sort $(shell grep -rohE 'MUTANT\([a-z0-9_]+\)' --exclude=mutant.h arch kernel lab mm proc sys | sed 's/[A-Z()]//g'))
ifeq ($(MUTANT),)
all: build/quiesce.iso build/quiesce-check.iso
else
$(if $(filter $(MUTANT),$(MUTANTS)),,$(error MUTANT=$(MUTANT) is unknown; valid: $(MUTANTS)))
M := build/mutant-$(MUTANT)
all: $M/quiesce-check.iso
$M/quiesce-check.elf: $(filter-out build/check/lab/mutant.o,$(call objs,check)) $M/mutant.o linker.ld tools/ksyms.py
$M/mutant.o: lab/mutant.c Makefile
	@mkdir -p $(@D)
	@$(CC) $(KFLAGS) -DCHECK=1 -DBUILD_NAME='"check"' -DMUTANT_NAME='"$(MUTANT)"' -c $< -o $@
endif

build/release/%.o: KFLAGS += -DCHECK=0 -DBUILD_NAME='"release"'
# The release build without the trace's hooks, to measure what they cost: make build/quiesce-untraced.iso (docs/tracing.md).
build/untraced/%.o: KFLAGS += -DCHECK=0 -DTRACE_HOOKS=0 -DBUILD_NAME='"release"'
build/check/%.o: KFLAGS += -DCHECK=1 -DBUILD_NAME='"check"'
define compile
build/$(1)/%.o: %.c Makefile
	@mkdir -p $$(@D)
	@echo "CC [$(1)] $$<"
	@$$(CC) $$(KFLAGS) -c $$< -o $$@
build/$(1)/%.asm.o: %.asm Makefile
	@mkdir -p $$(@D)
	@echo "ASM [$(1)] $$<"
	@$$(NASM) -f elf64 -g -F dwarf -I. -MD $$(@:.o=.d) -MP -o $$@ $$<
build/$(1)/version.o build/$(1)/font.o: build/$(1)/%.o: build/%.c Makefile
	@mkdir -p $$(@D)
	@$$(CC) $$(KFLAGS) -c $$< -o $$@
endef
$(foreach b,release check untraced,$(eval $(call compile,$(b))))

# Rewritten only when the version or the commit changes, so that nothing else is recompiled.
build/version.c: FORCE
	@mkdir -p $(@D)
	@commit=$$(git describe --always --dirty --exclude='*' 2>/dev/null || echo unknown); \
	printf '#include "kernel/version.h"\nconst char quiesce_version[] = "$(VERSION)";\nconst char quiesce_commit[] = "%s";\n' \
		"$$commit" > $@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# The screen's letters, from the font that comes with GRUB.
build/font.c: tools/font.py
	@mkdir -p $(@D)
	@$(PYTHON) $< > $@.new && mv $@.new $@

# Linked twice: the symbol table of the first link becomes part of the second, for backtraces.
build/quiesce.elf: $(call objs,release) linker.ld tools/ksyms.py
build/quiesce-check.elf: $(call objs,check) linker.ld tools/ksyms.py
build/quiesce-untraced.elf: $(call objs,untraced) linker.ld tools/ksyms.py
build/%.elf:
	@echo "LD $@"
	@$(LD) $(LDFLAGS) -o $@.1 $(filter %.o,$^)
	@python3 tools/ksyms.py $(NM) $@.1 > $@.ksyms.asm && $(NASM) -f elf64 -o $@.ksyms.o $@.ksyms.asm
	@$(LD) $(LDFLAGS) -o $@ $(filter %.o,$^) $@.ksyms.o

# xorriso (libburn 1.5.4) sometimes crashes after it has written the whole image: its write thread shows an idle drive
# before it sends its last message, and the main thread then frees what that message needs. Only after such a crash is
# it run again.
mkrescue = $(GRUB_MKRESCUE) -o $@ $@.d >$@.log 2>&1

# GRUB's menu can boot the checking build, too, so this image holds both.
build/quiesce.iso: build/quiesce-check.elf
build/%.iso: build/%.elf grub.cfg
	@echo "ISO $@"
	@rm -rf $@.d && mkdir -p $@.d/boot/grub && cp grub.cfg $@.d/boot/grub/
	@$(STRIP) -o $@.d/boot/quiesce.elf $<	# otherwise GRUB would read the debugging information, too
	@$(foreach elf,$(filter-out $<,$(filter %.elf,$^)),$(STRIP) -o $@.d/boot/$(notdir $(elf)) $(elf) &&) true
	@$(mkrescue) || { grep -q 'UNIX-SIGNAL: *SIGSEGV' $@.log && $(mkrescue); } || { cat $@.log; exit 1; }

# A second make builds: so `make deps run` sees the tools that deps has just installed, and the build is parallel.
build_all = @+$(MAKE) --no-print-directory -j$$(nproc) all
run bench budgets targets report sweep trace debug test test-all torture-all mutants models scale fuzz: | $(filter deps,$(MAKECMDGOALS))
run:
	$(build_all) $(filter build/user/%,$(PROGRAM))
	@$(PYTHON) tools/run.py
bench:
	$(build_all)
	@BUILD=release CMDLINE="$${CMDLINE:-mode=bench}" $(PYTHON) tools/run.py
budgets:
	$(build_all) $(if $(filter musl,$(USER_LIBCS)),build/user/musl/speed)
	@$(PYTHON) tools/budgets.py write
targets:
	$(if $(RESULTS),,$(build_all))
	@$(PYTHON) tools/targets.py
report:
	$(if $(RESULTS),,$(build_all))
	@$(PYTHON) tools/report.py
findings:
	@$(PYTHON) tools/findings.py
pages: findings
	@$(PYTHON) tools/reference.py
	@$(PYTHON) tools/diagrams
	@$(PYTHON) tools/sample.py
sweep:
	$(build_all)
	@$(PYTHON) tools/sweep.py
trace:
	$(build_all)
	@BUILD=release $(PYTHON) tools/trace.py $(RESULTS)
torture-all:
	$(build_all)
	@$(PYTHON) tools/torture.py $(foreach p,$(PAIRS),'$(p)')
mutants:
	$(build_all)
	@$(PYTHON) tools/mutants.py $(foreach m,$(MUTANT_NAMES),'$(m)')
scale:
	$(build_all)
	@CPUS="$(CPUS)" $(PYTHON) tools/scale.py
models:
	@$(PYTHON) tools/models.py
debug:
	$(build_all)
	@$(PYTHON) tools/run.py debug
test:
	$(build_all) user
	@$(PYTHON) tools/test.py
test-all:
	$(build_all)
	@$(PYTHON) tools/test_all.py $(foreach p,$(PARTS),'$(p)')
deps:
	@tools/deps.sh
	@$(PYTHON) tools/nested.py fetch
	@$(PYTHON) tools/xen.py fetch
distro:
	@tools/distro.sh
clean:
	rm -rf build
help:
	@sed 1d tools/help.txt

-include tests/host/host.mk tests/fuzz/fuzz.mk user/user.mk
-include $(shell find build -name '*.d' -type f 2>/dev/null)
.PHONY: all run bench budgets targets report findings pages sweep trace torture-all mutants models scale debug test test-all deps distro clean help FORCE
