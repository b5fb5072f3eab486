/*
 * What a power cut would leave of a folder. Loaded with LD_PRELOAD into the program under test.
 *
 * Bytes that a program writes are in the kernel's memory until the file is synced; killing the
 * process does not lose them, losing power does. This shim keeps, for every file below
 * POWERCUT_WATCH, a second file in POWERCUT_SHADOW that holds only what has been synced: bytes go
 * there when fsync or fdatasync of the file returns, and at no other time. A power cut is then
 * "the folder tree as it is, each file with the bytes of its shadow" (tests/src/powercut.rs).
 *
 * So creating, renaming, removing and shortening files count as durable at once (they need a sync
 * of the folder in truth; that is not tested here), and data only when synced.
 *
 * A shadow is named by the file's inode and birth time, so that it follows the file through
 * renames, and a new file that gets a freed inode does not inherit old bytes.
 *
 * While the file POWERCUT_SWALLOW exists, syncs return at once and do nothing: the program with
 * its sync calls taken out.
 *
 * With POWERCUT_SLOW a sync takes that many milliseconds at the most and a quarter of it at the
 * least, and each adds a byte to the file POWERCUT_COUNT.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 8192 /* more than the program ever has at a time: numbers are used again */
#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

/* Bytes [from, to) of a file that were written and not synced. A sync takes the whole file, so a
 * range that is too large does no harm. */
struct dirty {
    dev_t dev;
    ino_t ino;
    off_t from, to;
};

static struct dirty files[FILES];
static int known;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Only under the lock. */
static struct dirty *find(const struct stat *st) {
    for (int i = known - 1; i >= 0; i--)
        if (files[i].ino == st->st_ino && files[i].dev == st->st_dev) return &files[i];
    if (known == FILES) abort();
    files[known].dev = st->st_dev, files[known].ino = st->st_ino;
    return &files[known++];
}

/* Whether the descriptor is a regular file below POWERCUT_WATCH; also with its name gone. */
static int watched(int fd, struct stat *st) {
    const char *root = getenv("POWERCUT_WATCH");
    char link[64], path[PATH_MAX];
    if (!root || fd < 0 || fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    size_t length = strlen(root);
    return strncmp(path, root, length) == 0 && path[length] == '/';
}

static void note(int fd, off_t from, off_t to) {
    struct stat st;
    int saved = errno;
    if (to > from && watched(fd, &st)) {
        pthread_mutex_lock(&lock);
        struct dirty *d = find(&st);
        int clean = d->from >= d->to;
        if (clean || from < d->from) d->from = from;
        if (clean || to > d->to) d->to = to;
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
}

/* After a write at the descriptor's own offset. */
static void note_here(int fd, ssize_t n) {
    if (n > 0) {
        int saved = errno;
        off_t end = lseek(fd, 0, SEEK_CUR);
        errno = saved;
        if (end >= n) note(fd, end - n, end);
    }
}

static void copy(int from, int to, off_t start, off_t end) {
    static char buffer[1 << 16]; /* only used under the lock */
    while (start < end) {
        size_t want = end - start < (off_t)sizeof buffer ? (size_t)(end - start) : sizeof buffer;
        ssize_t n = pread(from, buffer, want, start);
        if (n <= 0) return;
        if (NEXT(ssize_t(*)(int, const void *, size_t, off_t), "pwrite")(to, buffer, n, start) != n) abort();
        start += n;
    }
}

/* Brings the shadow of the descriptor's file up to date. */
static void mirror(int fd) {
    struct stat st;
    struct statx sx;
    const char *shadow = getenv("POWERCUT_SHADOW");
    if (!shadow || !watched(fd, &st)) return;
    memset(&sx, 0, sizeof sx);
    statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &sx);
    char name[PATH_MAX], self[64];
    snprintf(name, sizeof name, "%s/%llu-%lld.%09u", shadow, (unsigned long long)st.st_ino,
             (long long)sx.stx_btime.tv_sec, sx.stx_btime.tv_nsec);
    /* The descriptor may be write-only. */
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int in = open(self, O_RDONLY | O_CLOEXEC);
    int out = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (in < 0 || out < 0) abort();
    pthread_mutex_lock(&lock);
    struct stat had;
    if (fstat(in, &st) != 0 || fstat(out, &had) != 0) abort();
    struct dirty *d = find(&st);
    copy(in, out, d->from, d->to < st.st_size ? d->to : st.st_size);
    d->from = d->to = 0;
    /* Bytes that came in another way (copy_file_range) at the end of the file. */
    if (had.st_size < st.st_size) copy(in, out, had.st_size, st.st_size);
    if (ftruncate(out, st.st_size) != 0) abort();
    pthread_mutex_unlock(&lock);
    close(in);
    close(out);
}

static int swallowed(void) {
    const char *file = getenv("POWERCUT_SWALLOW");
    return file && access(file, F_OK) == 0;
}

/* What the disk does until the sync begins to count. */
static void slow(void) {
    static unsigned calls;
    const char *longest = getenv("POWERCUT_SLOW"), *count = getenv("POWERCUT_COUNT");
    if (!longest || !count) return;
    useconds_t most = strtoul(longest, NULL, 10) * 1000;
    unsigned call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    usleep(most / 4 + call * 7919 % 1000 * (most / 4 * 3 / 1000));
    int out = open(count, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0 || NEXT(ssize_t(*)(int, const void *, size_t), "write")(out, ".", 1) != 1) abort();
    close(out);
}

static int synced(int fd, const char *name) {
    struct stat st;
    if (watched(fd, &st)) {
        if (swallowed()) return 0;
        slow();
    }
    int result = NEXT(int (*)(int), name)(fd);
    int saved = errno;
    if (result == 0) mirror(fd);
    errno = saved;
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

ssize_t write(int fd, const void *data, size_t n) {
    ssize_t done = NEXT(ssize_t(*)(int, const void *, size_t), "write")(fd, data, n);
    note_here(fd, done);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ssize_t done = NEXT(ssize_t(*)(int, const struct iovec *, int), "writev")(fd, parts, count);
    note_here(fd, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    ssize_t done = NEXT(ssize_t(*)(int, const void *, size_t, off_t), "pwrite")(fd, data, n, at);
    if (done > 0) note(fd, at, at + done);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
    ssize_t done = NEXT(ssize_t(*)(int, const void *, size_t, off64_t), "pwrite64")(fd, data, n, at);
    if (done > 0) note(fd, at, at + done);
    return done;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    ssize_t done = NEXT(ssize_t(*)(int, const struct iovec *, int, off_t), "pwritev")(fd, parts, count, at);
    if (done > 0) note(fd, at, at + done);
    return done;
}
