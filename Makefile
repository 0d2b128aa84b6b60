# SPDX-License-Identifier: MIT
# Quiesce. `make help` lists the targets; DESIGN notes and the variables are in README.md.
VERSION := 0.1
SMP ?= 4
MEM ?= 512M
ACCEL ?= tcg
FIRMWARE ?= bios
MACHINE ?= q35
BUILD ?= check
export SMP MEM ACCEL FIRMWARE MACHINE CPU BUILD CMDLINE TIMEOUT

# The default toolchain: a bare-metal one, else the distribution's, else the native one used freestanding.
CROSS_COMPILE ?= $(firstword $(foreach p,x86_64-elf- x86_64-linux-gnu-,$(if $(shell command -v $(p)gcc),$(p))))
CC := $(CROSS_COMPILE)gcc
LD := $(CROSS_COMPILE)ld
NM := $(CROSS_COMPILE)nm
NASM := nasm
DEPS := gcc binutils make nasm python3 qemu-system-x86 grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools ovmf gdb

COMMIT := $(shell git describe --always --dirty --exclude='*' 2>/dev/null || echo unknown)
WARN := -Wall -Wextra -Werror -Wmissing-prototypes -Wno-unused-parameter
KFLAGS := -std=gnu11 -O2 -g -ffreestanding -fno-pic -fno-pie -fno-omit-frame-pointer -fno-asynchronous-unwind-tables \
	-fno-strict-aliasing -fno-delete-null-pointer-checks -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
	-fstack-protector-strong -mstack-protector-guard=global -I. -Iarch/x86_64/include $(WARN) -MMD -MP

SRC_C := $(wildcard boot/*.c arch/x86_64/*.c kernel/*.c mm/*.c tests/*.c)
SRC_ASM := $(wildcard boot/*.asm arch/x86_64/*.asm)
objs = $(SRC_C:%.c=build/$(1)/%.o) $(SRC_ASM:%.asm=build/$(1)/%.asm.o)

all: build/quiesce.iso build/quiesce-check.iso

build/release/%.o: KFLAGS += -DCHECK=0 -DBUILD_NAME='"release"'
build/check/%.o: KFLAGS += -DCHECK=1 -DBUILD_NAME='"check"'
build/release/%.o build/check/%.o: build/.flags
define compile
build/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	@echo "CC [$(1)] $$<"
	@$$(CC) $$(KFLAGS) -c $$< -o $$@
build/$(1)/%.asm.o: %.asm
	@mkdir -p $$(@D)
	@echo "ASM [$(1)] $$<"
	@$$(NASM) -f elf64 -g -F dwarf -I. -MD $$(@:.o=.d) -o $$@ $$<
endef
$(foreach b,release check,$(eval $(call compile,$(b))))

# Two links: the first yields the symbol table that the second carries along for backtraces.
build/quiesce.elf: $(call objs,release) linker.ld tools/ksyms.py
build/quiesce-check.elf: $(call objs,check) linker.ld tools/ksyms.py
build/%.elf:
	@echo "LD $@"
	@$(LD) -n -z noexecstack --no-warn-rwx-segments -T linker.ld -o $@.1 $(filter %.o,$^)
	@python3 tools/ksyms.py $(NM) $@.1 > $@.ksyms.asm && $(NASM) -f elf64 -o $@.ksyms.o $@.ksyms.asm
	@$(LD) -n -z noexecstack --no-warn-rwx-segments -T linker.ld -o $@ $(filter %.o,$^) $@.ksyms.o

build/%.iso: build/%.elf grub.cfg
	@rm -rf $@.d && mkdir -p $@.d/boot/grub && cp grub.cfg $@.d/boot/grub/ && cp $< $@.d/boot/quiesce.elf
	@grub-mkrescue -o $@ $@.d >$@.log 2>&1 || { cat $@.log; exit 1; }

.PHONY: all deps clean
deps:
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEPS)
clean:
	rm -rf build

-include $(shell find build -name '*.d' -type f 2>/dev/null)
