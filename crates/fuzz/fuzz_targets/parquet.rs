#![no_main]
faculty_fuzz::target!("parquet");
