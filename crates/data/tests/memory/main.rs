//! What damaged or hostile images may cost; a process of its own, since the peak of memory is one
//! number for all threads.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::io::Write as _;

use faculty_data::{Dataset, OnBadImage, ReadOptions};
use flate2::Compression;
use flate2::write::ZlibEncoder;

/// `kB` of the line `name` in `/proc/self/status`.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind.as_slice(), data].concat();
    let mut crc = u32::MAX;
    for &byte in &body {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    [(data.len() as u32).to_be_bytes().as_slice(), &body, &(!crc).to_be_bytes()].concat()
}

/// `megabytes` of zeros, compressed.
fn zeros(megabytes: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..megabytes).for_each(|_| encoder.write_all(&zeros).unwrap());
    encoder.finish().unwrap()
}

#[test]
fn compressed_chunks_beside_the_pixels_do_not_fill_the_memory() {
    let mut pixels = ZlibEncoder::new(Vec::new(), Compression::best());
    pixels.write_all(&[0, 9]).unwrap();
    let pixels = pixels.finish().unwrap();
    let bomb = zeros(256);
    let folder = tempfile::tempdir().unwrap();
    let write = |class: &str, index: usize, kind: &[u8; 4], head: &[u8]| {
        let path = folder.path().join(class);
        fs::create_dir_all(&path).unwrap();
        let header = [&[0, 0, 0, 1, 0, 0, 0, 1, 8][..], &[0; 4]].concat();
        let beside = chunk(kind, &[head, &bomb].concat());
        let png = [
            b"\x89PNG\r\n\x1a\n".to_vec(),
            chunk(b"IHDR", &header),
            beside,
            chunk(b"IDAT", &pixels),
            chunk(b"IEND", &[]),
        ];
        fs::write(path.join(format!("{index}.png")), png.concat()).unwrap();
    };
    for index in 0..8 {
        write("profile", index, b"iCCP", b"name\0\0");
        write("text", index, b"zTXt", b"name\0\0");
        write("international", index, b"iTXt", b"name\0\x01\0\0\0");
    }
    // As if there were many cores.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
    let before = status("VmHWM");
    let options = ReadOptions { on_bad_image: OnBadImage::Skip, ..ReadOptions::default() };
    // Whether such an image is read or left out does not matter here.
    drop(pool.install(|| Dataset::open(folder.path(), &options)));
    let megabytes = (status("VmHWM") - before) / 1024;
    // 8 threads with 16 MiB each, and what the allocator keeps; it was 256 MiB a thread.
    assert!(megabytes < 400, "{megabytes} MiB more");
}
