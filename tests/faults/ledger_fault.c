// SPDX-License-Identifier: Apache-2.0
// Preloaded into a program that has a ledger: numbers what is done to the ledger's files, over all processes that share
// the count, and makes one of these operations fail, or the last one of its process.
//   LEDGER_FAULT        fail:ERRNO:N  kill-before:N  kill-after:N  tear:N (half of a write, then SIGKILL)
//                       fail-on:ERRNO:N (and every later one that can fail so: the disk is full, or read-only)
//   LEDGER_FAULT_COUNT  file of 8 bytes that holds the number of operations so far
//   LEDGER_FAULT_LOG    where each operation is named, if that is wanted
// What SQLite does to the index of its log (ledger.db-shm) goes through memory; only its making is seen.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum way { COUNT, FAIL, FAIL_ON, KILL_BEFORE, KILL_AFTER, TEAR };

static enum way wanted_way;
static int wanted_errno;
static uint64_t wanted_number;
static uint64_t *counter;
static int log_file = -1;
static const char *directory;

enum { MOST_FILES = 4096 };
static char names[MOST_FILES][16];  // of the ledger's open files; empty: another file

// The next definition of the function that this one stands before.
#define REAL(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))

__attribute__((constructor)) static void prepare(void) {
    const char *const count = getenv("LEDGER_FAULT_COUNT");
    const char *const fault = getenv("LEDGER_FAULT");
    const char *const log = getenv("LEDGER_FAULT_LOG");
    if (count == NULL) return;
    directory = getenv("SLICEBROKER_STATE");
    const int file = REAL(open)(count, O_RDWR | O_CLOEXEC);
    void *const memory = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) abort();
    REAL(close)(file);
    counter = memory;
    // Beyond what is used otherwise: a program may close the files that it inherited.
    if (log != NULL) log_file = REAL(open)(log, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fault == NULL) return;
    if (sscanf(fault, "fail:%d:%lu", &wanted_errno, &wanted_number) == 2) wanted_way = FAIL;
    if (sscanf(fault, "fail-on:%d:%lu", &wanted_errno, &wanted_number) == 2) wanted_way = FAIL_ON;
    if (sscanf(fault, "kill-before:%lu", &wanted_number) == 1) wanted_way = KILL_BEFORE;
    if (sscanf(fault, "kill-after:%lu", &wanted_number) == 1) wanted_way = KILL_AFTER;
    if (sscanf(fault, "tear:%lu", &wanted_number) == 1) wanted_way = TEAR;
    if (wanted_way == COUNT) abort();
}

// "db", "wal", "directory"; empty where the path is none of the ledger's.
static const char *name_of(const char *path) {
    if (counter == NULL) return "";
    if (directory != NULL && strcmp(path, directory) == 0) return "directory";
    const char *const slash = strrchr(path, '/');
    const char *const leaf = slash == NULL ? path : slash + 1;
    if (strncmp(leaf, "ledger.db", strlen("ledger.db")) != 0) return "";
    for (const char *const *suffix = (const char *const[]){"wal", "shm", "journal", NULL}; *suffix != NULL; ++suffix) {
        const size_t length = strlen(leaf), end = strlen(*suffix);
        if (length > end && strcmp(leaf + length - end, *suffix) == 0) return *suffix;
    }
    return "db";
}

static const char *name_of_file(int file) {
    return file >= 0 && file < MOST_FILES ? names[file] : "";
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

// Whether a state that lasts makes operations of this kind fail: a full disk takes nothing new, one that is mounted
// read-only changes nothing.
static bool lasting(const char *kind) {
    if (wanted_errno == ENOSPC) return strcmp(kind, "write") == 0 || strcmp(kind, "truncate") == 0;
    return strcmp(kind, "read") != 0 && strcmp(kind, "open") != 0;
}

// What is to be done with this operation; KILL_BEFORE does not return.
static enum way next(const char *kind, const char *name) {
    const uint64_t number = __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
    if (log_file >= 0) dprintf(log_file, "%lu %s %s\n", number, kind, name);
    if (wanted_way == FAIL_ON && number >= wanted_number && lasting(kind)) {
        errno = wanted_errno;
        return FAIL;
    }
    if (wanted_way == COUNT || wanted_way == FAIL_ON || number != wanted_number) return COUNT;
    if (wanted_way == KILL_BEFORE) die();
    if (wanted_way == FAIL) errno = wanted_errno;
    return wanted_way;
}

#define PERFORM(kind, name, operation)              \
    do {                                            \
        if (*(name) == '\0') return (operation);    \
        const enum way way = next((kind), (name));  \
        if (way == FAIL) return -1;                 \
        const __typeof__(operation) result = (operation); \
        if (way == KILL_AFTER) die();               \
        return result;                              \
    } while (0)

static int opened(int file, const char *name) {
    if (file >= 0 && file < MOST_FILES) strcpy(names[file], name);
    return file;
}

static int open_named(const char *path, int flags, mode_t mode) {
    const char *const name = name_of(path);
    PERFORM("open", name, opened(REAL(open)(path, flags, mode), name));
}

#define MODE_OF(flags)                              \
    mode_t mode = 0;                                \
    if (((flags) & (O_CREAT | O_TMPFILE)) != 0) {   \
        va_list arguments;                          \
        va_start(arguments, flags);                 \
        mode = va_arg(arguments, mode_t);           \
        va_end(arguments);                          \
    }

int open(const char *path, int flags, ...) {
    MODE_OF(flags)
    return open_named(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE_OF(flags)
    return open_named(path, flags, mode);
}

int close(int file) {
    opened(file, "");
    return REAL(close)(file);
}

ssize_t pread(int file, void *bytes, size_t size, off_t offset) {
    PERFORM("read", name_of_file(file), REAL(pread)(file, bytes, size, offset));
}

ssize_t pread64(int file, void *bytes, size_t size, off64_t offset) {
    return pread(file, bytes, size, offset);
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t offset) {
    const char *const name = name_of_file(file);
    if (*name == '\0') return REAL(pwrite)(file, bytes, size, offset);
    const enum way way = next("write", name);
    if (way == FAIL) return -1;
    const ssize_t result = REAL(pwrite)(file, bytes, way == TEAR ? size / 2 : size, offset);
    if (way == KILL_AFTER || way == TEAR) die();
    return result;
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t offset) {
    return pwrite(file, bytes, size, offset);
}

int fsync(int file) {
    PERFORM("sync", name_of_file(file), REAL(fsync)(file));
}

int fdatasync(int file) {
    PERFORM("sync", name_of_file(file), REAL(fdatasync)(file));
}

int ftruncate(int file, off_t size) {
    PERFORM("truncate", name_of_file(file), REAL(ftruncate)(file, size));
}

int ftruncate64(int file, off64_t size) {
    return ftruncate(file, size);
}

int unlink(const char *path) {
    PERFORM("unlink", name_of(path), REAL(unlink)(path));
}

int link(const char *from, const char *to) {
    PERFORM("link", name_of(to), REAL(link)(from, to));
}
