//! Zip files, written as PyTorch does.

use std::io::Write as _;

/// A member's name and contents.
pub(crate) type Member = (String, Vec<u8>);

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The members in a zip file with zip64 records at its end, contents at multiples of 64 bytes; or
/// compressed, as other programs pack them.
pub(crate) fn zip(members: &[Member], compressed: bool) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in members {
        let start = file.len() as u32;
        let packed = if compressed { deflated(content) } else { content.clone() };
        let method: u16 = if compressed { 8 } else { 0 };
        let padding = 64 - (file.len() + 30 + name.len() + 4) % 64;
        let mut about = Vec::new();
        about.extend(0_u16.to_le_bytes()); // flags
        about.extend(method.to_le_bytes());
        about.extend([0; 4]); // time and date
        about.extend(crc32(content).to_le_bytes());
        about.extend((packed.len() as u32).to_le_bytes());
        about.extend((content.len() as u32).to_le_bytes());
        about.extend((name.len() as u16).to_le_bytes());
        file.extend(b"PK\x03\x04\0\0");
        file.extend(&about);
        file.extend((4 + padding as u16).to_le_bytes());
        file.extend(name.as_bytes());
        file.extend(b"FB");
        file.extend((padding as u16).to_le_bytes());
        file.extend(vec![b'Z'; padding]);
        file.extend(&packed);
        directory.extend(b"PK\x01\x02\0\0\0\0");
        directory.extend(&about);
        directory.extend([0; 12]); // extra, comment, volume, attributes
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, size, count) = (file.len() as u64, directory.len() as u64, members.len() as u64);
    file.extend(&directory);
    file.extend(b"PK\x06\x06");
    file.extend(44_u64.to_le_bytes());
    file.extend([0; 12]); // versions and volumes
    for number in [count, count, size, start] {
        file.extend(number.to_le_bytes());
    }
    file.extend(b"PK\x06\x07\0\0\0\0");
    file.extend((start + size).to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count as u16, count as u16].map(u16::to_le_bytes).concat());
    file.extend([size as u32, start as u32].map(u32::to_le_bytes).concat());
    file.extend([0; 2]); // no comment
    file
}

/// A file of `torch.save` with this pickle and these storages, in a folder named `stem`.
pub(crate) fn saved(stem: &str, pickle: &[u8], storages: &[&[u8]], compressed: bool) -> Vec<u8> {
    let named = |name: &str, content: &[u8]| (format!("{stem}/{name}"), content.to_vec());
    let mut members = vec![named("data.pkl", pickle), named(".format_version", b"1")];
    members.push(named("byteorder", b"little"));
    for (key, storage) in storages.iter().enumerate() {
        members.push(named(&format!("data/{key}"), storage));
    }
    members.extend([named("version", b"3\n"), named(".data/serialization_id", &[b'0'; 40])]);
    zip(&members, compressed)
}
