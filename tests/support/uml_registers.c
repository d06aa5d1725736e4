/* For User Mode Linux on processors with more registers than its kernels know (Intel's AMX): they write back the first
   part of what they read, which the machine refuses as incomplete, and panic at the first program. Preloaded into the
   kernel's process, this completes it with what is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#define EXTENDED_STATE ((void *)0x202) /* NT_X86_XSTATE */

long ptrace(enum __ptrace_request request, ...)
{
	static long (*real)(enum __ptrace_request, ...);
	static __thread char whole[1 << 15];
	va_list rest;

	va_start(rest, request);
	pid_t pid = va_arg(rest, pid_t);
	void *address = va_arg(rest, void *), *data = va_arg(rest, void *);
	va_end(rest);
	if (real == NULL)
		real = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
	if (request == PTRACE_SETREGSET && address == EXTENDED_STATE) {
		const struct iovec *part = data;
		struct iovec all = {whole, sizeof whole};

		if (real(PTRACE_GETREGSET, pid, address, &all) == 0 && all.iov_len > part->iov_len) {
			memcpy(whole, part->iov_base, part->iov_len);
			return real(request, pid, address, &all);
		}
	}
	return real(request, pid, address, data);
}
