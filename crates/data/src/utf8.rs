//! The text of a file, which must be UTF-8.

use std::path::Path;

use crate::DataError;

/// The text of a file, without a byte order mark.
///
/// # Errors
/// [`DataError::Texts`] with the line where it stops to be UTF-8, and how to convert it.
pub(crate) fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, DataError> {
    let convert =
        |from: &str| format!("convert it, for example with `iconv -f {from} -t UTF-8 FILE > NEW`");
    let wrong = |line, problem: String, fix| DataError::Texts {
        path: path.to_owned(),
        place: Some(("line", line)),
        problem,
        fix,
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(wrong(1, "it is UTF-16, not UTF-8".to_owned(), convert("UTF-16")));
    }
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        let line = 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count() as u64;
        // Letters of Latin alphabets have a zero beside each in UTF-16.
        let zeros = |from: usize| bytes.iter().skip(from).step_by(2).filter(|&&b| b == 0).count();
        let most = bytes.len() * 3 / 8;
        return Err(match (zeros(0) > most, zeros(1) > most) {
            (true, false) => wrong(1, "it is UTF-16, not UTF-8".to_owned(), convert("UTF-16BE")),
            (false, true) => wrong(1, "it is UTF-16, not UTF-8".to_owned(), convert("UTF-16LE")),
            _ => wrong(
                line,
                "byte 0x00 is in no text: the file is damaged or of another kind".to_owned(),
                "fetch it again, or take such bytes out, for example with `tr -d '\\0' < FILE > NEW`"
                    .to_owned(),
            ),
        });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count() as u64;
        let problem = format!(
            "byte 0x{:02x} is not UTF-8; the file is perhaps Latin-1 (Windows-1252)",
            bytes[at]
        );
        wrong(line, problem, convert("WINDOWS-1252"))
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_taken_off_and_other_encodings_are_named_with_line_and_fix() {
        let read = |bytes: &[u8]| text_of(Path::new("a.csv"), bytes.to_vec());
        assert_eq!(read("\u{feff}naïve".as_bytes()).unwrap(), "naïve");
        let error = read(b"a\nb\nna\xefve").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a.csv`, line 3: byte 0xef is not UTF-8; the file is perhaps Latin-1 (Windows-1252)"
        );
        assert!(error.hint().unwrap().contains("iconv -f WINDOWS-1252 -t UTF-8"));
        let utf16 =
            |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        let error = read(&utf16("text,label\na,1\n")).unwrap_err();
        assert!(error.to_string().contains("UTF-16"), "{error}");
        assert!(error.hint().unwrap().contains("UTF-16BE"));
        let error = read(b"a\nb\0c").unwrap_err();
        assert!(error.to_string().contains("line 2: byte 0x00"), "{error}");
        let error = read(&[0xff, 0xfe, b'a', 0]).unwrap_err();
        assert!(error.to_string().contains("UTF-16"), "{error}");
    }
}
