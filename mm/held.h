// SPDX-License-Identifier: MIT
// How much memory goes when a space goes.
#pragma once
#include "mm/space.h"

// 4 KiB pages: private ones that are mapped, and all that its objects have, mapped or not, each once. Page tables are not
// counted. May sleep. Looks at all regions, and at the page tables of those that map an object.
u64 space_held_pages(struct space *s);
