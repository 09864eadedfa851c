//! The system's allocator, which says in words when there is no memory left.
//!
//! Rust ends a program that gets no memory with SIGABRT, as it ends one with a bug. Where the system
//! refuses memory (a limit on addresses, no overcommitment) this one ends it with an error and exit
//! code 2; where the system gives what it does not have and kills later, nobody can.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;

/// To be a program's `#[global_allocator]`. A request that cannot be met ends the program, also one
/// whose caller could go on without.
#[derive(Clone, Copy, Debug, Default)]
pub struct Telling;

/// Ends the program if there is no memory.
#[expect(clippy::exit, reason = "nothing else can be done without memory")]
fn advised(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() {
        // Neither takes memory.
        let _ = writeln!(
            std::io::stderr(),
            "error: out of memory: {bytes} more bytes are not to be had\n  hint: lower \
             `train.batch_size`, or raise the limit (`ulimit -v`)"
        );
        std::process::exit(2);
    }
    memory
}

// SAFETY: all is the system's allocator's own doing.
unsafe impl GlobalAlloc for Telling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        advised(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        advised(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        advised(unsafe { System.realloc(memory, layout, size) }, size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}
