/* Put before the C library by LD_PRELOAD: while the file $FULL_DISK is there, no regular file can be written or grow. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_full_for(int fd) {
    struct stat status;
    int before = errno;
    int full = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && access(getenv("FULL_DISK"), F_OK) == 0;
    errno = full ? ENOSPC : before;
    return full;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return is_full_for(fd) ? -1 : syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return is_full_for(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    return is_full_for(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, offset);
}
