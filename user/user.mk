# SPDX-License-Identifier: MIT
# Our own programs (docs/programs.md): `make user` builds each user/NAME.c as a static Linux program, into
# build/user/glibc/NAME and, where there is a musl-gcc, build/user/musl/NAME; some also as a static PIE. They are Linux
# programs: nothing of the kernel's is used, neither its flags nor its headers.
USER_CC ?= gcc
MUSL_CC ?= musl-gcc
USER_FLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Werror -pthread -D_GNU_SOURCE -iquote . -MMD -MP
USER_NAMES := $(basename $(notdir $(wildcard user/*.c)))
USER_COMMON := $(basename $(notdir $(wildcard user/common/*.c)))
USER_PIE := hello
# Those that are also parts of the program `several`.
USER_SEVERAL := $(shell sed -n 's/^[[:space:]]*X(\(.*\)).*/\1/p' user/several.c)
# -print-file-name= answers with the bare name where there is no such file.
USER_LIBCS := $(if $(findstring /,$(shell $(USER_CC) -print-file-name=libc.a 2>/dev/null)),glibc) \
	$(if $(shell command -v $(MUSL_CC)),musl)

.PHONY: user
user: $(foreach libc,$(USER_LIBCS),$(USER_NAMES:%=build/user/$(libc)/%)) \
	$(if $(filter glibc,$(USER_LIBCS)),$(USER_PIE:%=build/user/pie/%))

# $(1): the folder, $(2): the compiler, $(3): its flag, $(4): the linker's
define user_variant
build/user/$(1)/%: build/user/$(1)/obj/%.o $(USER_COMMON:%=build/user/$(1)/obj/common/%.o)
	@$(2) -pthread $(4) -o $$@ $$^ -lm
build/user/$(1)/several: $(USER_SEVERAL:%=build/user/$(1)/obj/%_main.o)
build/user/$(1)/obj/%_main.o: build/user/$(1)/obj/%.o
	@objcopy --redefine-sym main=$$*_main $$< $$@
build/user/$(1)/obj/%.o: user/%.c Makefile
	@mkdir -p $$(@D)
	@echo "CC [user, $(1)] $$<"
	@$(2) $(USER_FLAGS) $(3) -c $$< -o $$@
endef
$(eval $(call user_variant,glibc,$(USER_CC),-fno-pie,-static -no-pie))
$(eval $(call user_variant,musl,$(MUSL_CC),-fno-pie,-static -no-pie))
$(eval $(call user_variant,pie,$(USER_CC),-fPIE,-static-pie))
.SECONDARY: $(foreach libc,glibc musl pie,$(USER_NAMES:%=build/user/$(libc)/obj/%.o) $(USER_COMMON:%=build/user/$(libc)/obj/common/%.o))
