// SPDX-License-Identifier: MIT
// Reads standard input to its end, twice as many bytes at a time in each turn, and says what it was.
#include "user/common/check.h"

int main(void)
{
	unsigned long bytes = 0, lines = 0, sum = 0, size = 1;
	static unsigned char some[4096];
	ssize_t n;

	while ((n = read(STDIN_FILENO, some, size)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			lines += some[i] == '\n';
			sum = sum * 31 + some[i];
		}
		bytes += n;
		size = size < sizeof(some) ? 2 * size : size;
	}
	CHECK_EQ(n, 0);
	CHECK_EQ(read(STDIN_FILENO, some, 1), 0);	// and it stays at its end
	say("%lu bytes, %lu lines, sum %lx", bytes, lines, sum);
	return 0;
}
