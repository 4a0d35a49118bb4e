//! A program that knows nothing of the library runs with it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The library, which cargo puts beside the tests.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!(
        "{}fedact_memory{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    test.with_file_name(name)
}

/// What a program in C says that was never told of another allocator than the C library's.
#[test]
fn a_program_has_its_blocks_from_here_aligned_cleared_kept_and_as_large_as_was_asked() {
    let folder = std::env::temp_dir().join(format!("fedact-memory-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, program) = (folder.join("blocks.c"), folder.join("blocks"));
    std::fs::write(&source, BLOCKS).unwrap();
    let compiled = Command::new("cc")
        .args(["-O0", "-pthread", "-o"])
        .args([&program, &source])
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(compiled.success());
    let output = Command::new(&program)
        .env("LD_PRELOAD", library())
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(output.status.success(), "{output:?}");
    // Which library each function is of, in the order of the list.
    let names = String::from_utf8(output.stdout).unwrap();
    assert_eq!(names.lines().count(), 10, "{names}");
    for name in names.lines() {
        assert_eq!(
            Path::new(name).file_name(),
            library().file_name(),
            "{names}"
        );
    }
}

const BLOCKS: &str = r#"
#define _GNU_SOURCE
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int aligned(void *block, size_t to) { return block && (uintptr_t)block % to == 0; }

/* Blocks of one thread, freed by another. */
static void *fill(void *unused) {
    (void)unused;
    void **blocks = malloc(1000 * sizeof *blocks);
    for (int at = 0; at < 1000; at++) memset(blocks[at] = malloc(at * 37 + 1), at, at * 37 + 1);
    return blocks;
}

int main(void) {
    char *text = malloc(10);
    strcpy(text, "123456789");
    text = realloc(text, 1 << 20);
    assert(!strcmp(text, "123456789") && malloc_usable_size(text) >= 1 << 20);
    free(text);
    unsigned char *clear = calloc(1000, 1000);
    for (int at = 0; at < 1000000; at++) assert(!clear[at]);
    free(clear);
    volatile size_t huge = SIZE_MAX / 2;
    assert(!calloc(huge, 4) && !malloc(SIZE_MAX - 100 + (huge & 1)));
    void *block = NULL;
    assert(!posix_memalign(&block, 64, 100) && aligned(block, 64));
    free(block);
    assert(posix_memalign(&block, 3, 100) == EINVAL);
    assert(aligned(block = aligned_alloc(256, 512), 256));
    free(block);
    assert(aligned(block = memalign(4096, 1), 4096));
    free(block);
    assert(aligned(block = valloc(1), 4096));
    free(block);
    assert(aligned(block = pvalloc(1), 4096) && malloc_usable_size(block) >= 4096);
    memset(block, 1, 4096);
    free(block);
    free(NULL);
    char *copy = strdup("the C library's own");
    free(copy);
    pthread_t threads[4];
    for (int at = 0; at < 4; at++) assert(!pthread_create(&threads[at], NULL, fill, NULL));
    for (int at = 0; at < 4; at++) {
        void *filled;
        assert(!pthread_join(threads[at], &filled));
        void **blocks = filled;
        for (int block = 0; block < 1000; block++) {
            assert(((unsigned char *)blocks[block])[block * 37] == (unsigned char)block);
            free(blocks[block]);
        }
        free(blocks);
    }
    const char *names[] = {"malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "memalign", "valloc",
                           "pvalloc", "malloc_usable_size"};
    for (int at = 0; at < 10; at++) {
        Dl_info info;
        assert(dladdr(dlsym(RTLD_DEFAULT, names[at]), &info));
        puts(info.dli_fname);
    }
    return 0;
}
"#;
