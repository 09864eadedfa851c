#![no_main]
#![expect(missing_docs, reason = "a program")]
faculty_fuzz::target!("npz");
