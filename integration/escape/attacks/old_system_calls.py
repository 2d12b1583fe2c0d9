"""Reach denied calls by the processor's other doors: `int 0x80` and the x32 table, which number them anew.

Source: seccomp(2), "the arch field"; CVE-2009-0835; the x32 ABI.
"""

import platform

from attempt import compiled, denied, run, works

_INT80 = r"""
int main(void) {
  long r;
  /* 26: ptrace(TRACEME) of i386 */
  __asm__ volatile("int $0x80" : "=a"(r) : "a"(26), "b"(0), "c"(0), "d"(0), "S"(0) : "memory");
  return r < 0 ? 1 : 0;
}
"""
_INT80_CHMOD = r"""
int main(void) {
  long r;
  /* 310: unshare(CLONE_NEWUSER) of i386 */
  __asm__ volatile("int $0x80" : "=a"(r) : "a"(310), "b"(0x10000000) : "memory");
  return r < 0 ? 1 : 0;
}
"""
_X32 = r"""
#include <unistd.h>
#include <sys/syscall.h>
int main(void) { return syscall(0x40000000 | 272, 0x10000000) < 0 ? 1 : 0; }
"""
_X32_PTRACE = r"""
#include <unistd.h>
int main(void) { return syscall(0x40000000 | 521, 0, 0, 0, 0) < 0 ? 1 : 0; }
"""
_NEW = r"""
#include <unistd.h>
#include <errno.h>
int main(void) { return syscall(5000) < 0 && errno == ENOSYS ? 1 : 0; }
"""
_PLAIN = "int main(void) { return 0; }"


def inside():
    if platform.machine() == "x86_64":
        denied("ptrace by int 0x80", lambda: run(compiled(_INT80)))
        denied("unshare by int 0x80", lambda: run(compiled(_INT80_CHMOD)))
        denied("unshare by x32", lambda: run(compiled(_X32)))
        denied("ptrace by x32", lambda: run(compiled(_X32_PTRACE)))
    denied("a number that no kernel has", lambda: run(compiled(_NEW)))
    works("a compiled program", lambda: run(compiled(_PLAIN)) == "")
