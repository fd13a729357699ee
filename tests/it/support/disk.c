/* Put before the C library by LD_PRELOAD, as a disk that can be watched and that can fail. Files in the directory $DISK: to `confirmed` each
 * fsync and fdatasync is noted; while `fails` is there neither succeeds; while `full` is there no regular file can be written; while `denied`
 * or `none` is there no database can be opened. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_here(const char *name, int flags) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("DISK"), name);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

static int is_here(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("DISK"), name);
    return access(path, F_OK) == 0;
}

static int confirm(int fd, long call) {
    int notes = open_here("confirmed", O_WRONLY | O_APPEND | O_CREAT);
    if (notes < 0 || syscall(SYS_write, notes, "x", 1) != 1) abort();
    close(notes);
    if (is_here("fails")) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

static int is_full_for(int fd) {
    struct stat status;
    int before = errno;
    int is_file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    int full = is_file && is_here("full");
    errno = full ? ENOSPC : before;
    return full;
}

int fdatasync(int fd) { return confirm(fd, SYS_fdatasync); }
int fsync(int fd) { return confirm(fd, SYS_fsync); }

ssize_t write(int fd, const void *bytes, size_t count) {
    return is_full_for(fd) ? -1 : syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return is_full_for(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    return is_full_for(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, offset);
}

static int open_file(const char *path, int flags, va_list more) {
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0;
    if (strstr(path, ".db")) {
        if (is_here("denied")) return errno = EACCES, -1;
        if (is_here("none")) return errno = EMFILE, -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int file = open_file(path, flags, more);
    va_end(more);
    return file;
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int file = open_file(path, flags | O_LARGEFILE, more);
    va_end(more);
    return file;
}
