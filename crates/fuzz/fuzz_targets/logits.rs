#![no_main]
faculty_fuzz::target!("logits");
