//! The text of a file, which must be UTF-8.

use std::path::Path;

use crate::DataError;

/// The text of a file, without a byte order mark.
///
/// # Errors
/// [`DataError::Texts`] with the line where it stops to be UTF-8, and how to convert it.
pub(crate) fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, DataError> {
    let convert = |from: &str| {
        format!("convert it, for example with `iconv -f {from} -t UTF-8 {} > NEW`", path.display())
    };
    let wrong = |line, problem: String, fix| DataError::Texts {
        path: path.to_owned(),
        place: Some(("line", line)),
        problem,
        fix,
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(wrong(1, "it is UTF-16, not UTF-8".to_owned(), convert("UTF-16")));
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
        assert!(error.hint().unwrap().contains("iconv -f WINDOWS-1252 -t UTF-8 a.csv"));
        let error = read(&[0xff, 0xfe, b'a', 0]).unwrap_err();
        assert!(error.to_string().contains("UTF-16"), "{error}");
    }
}
