/* Put before the C library by LD_PRELOAD: notes each fdatasync in a file, and fails it while another file is there. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd) {
    int notes = open(getenv("FDATASYNC_NOTES"), O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (notes < 0 || write(notes, "x", 1) != 1) abort();
    close(notes);
    if (access(getenv("FDATASYNC_FAILS"), F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}
