#![no_main]
faculty_fuzz::target!("cifar");
