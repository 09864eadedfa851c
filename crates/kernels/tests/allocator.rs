//! A program that gets no memory: this one, started again.

use std::process::Command;

use faculty_kernels::allocator::Telling;

#[global_allocator]
static ALLOCATOR: Telling = Telling;

const CHILD: &str = "FACULTY_TEST_OUT_OF_MEMORY";

#[test]
fn no_memory_is_an_error_with_exit_code_2_and_no_abort() {
    if std::env::var_os(CHILD).is_some() {
        let much = Vec::<u8>::with_capacity(isize::MAX as usize / 2);
        panic!("there is memory for {}", much.capacity());
    }
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this).arg("--nocapture").env(CHILD, "1").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("error: out of memory: "), "{stderr}");
}
